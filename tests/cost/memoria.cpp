// The same small program four times, to compare what the libraries cost to compile: read a state, count a run, note its
// name, write the state back.
#include <memoria_fs.hpp>

int main() {
  memoria::json state = memoria::load_json_with_recovery("state.json", memoria::json::object());
  state["runs"] = state.value("runs", 0) + 1;
  state["names"].push_back("run " + std::to_string(state["runs"].get<int>()));
  memoria::save_json("state.json", state);
}
