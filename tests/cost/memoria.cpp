// The same small program with each library, to compare what they cost to compile: read a state, or begin one if there is
// none; count a run, note its name, write the state back. Bytes that are no state are an exception.
#include <filesystem>
#include <memoria_fs.hpp>

int main() {
  memoria::json state = memoria::json::object();
  if (std::filesystem::exists("state.json")) state = memoria::load_json("state.json");
  state["runs"] = state.value("runs", 0) + 1;
  state["names"].push_back("run " + std::to_string(state["runs"].get<int>()));
  memoria::save_json("state.json", state);
}
