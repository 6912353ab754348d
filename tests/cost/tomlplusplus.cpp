#include <fstream>
#include <string>
#include <toml++/toml.h>

int main() {
  toml::table state;
  if (std::ifstream in("state.toml"); in) state = toml::parse(in);
  const int runs = state["runs"].value_or(0) + 1;
  state.insert_or_assign("runs", runs);
  if (!state.contains("names")) state.insert("names", toml::array());
  state["names"].as_array()->push_back("run " + std::to_string(runs));
  std::ofstream("state.toml") << state;
}
