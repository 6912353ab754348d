// As memoria.cpp, but what is no state is set aside and the program goes on.
#include <memoria_fs.hpp>

int main() {
  memoria::json state = memoria::load_json_with_recovery("state.json", memoria::json::object());
  state["runs"] = state.value("runs", 0) + 1;
  state["names"].push_back("run " + std::to_string(state["runs"].get<int>()));
  memoria::save_json("state.json", state);
}
