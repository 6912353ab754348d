#include <fstream>
#include <nlohmann/json.hpp>

int main() {
  nlohmann::ordered_json state = nlohmann::ordered_json::object();
  if (std::ifstream in("state.json"); in) state = nlohmann::ordered_json::parse(in);
  state["runs"] = state.value("runs", 0) + 1;
  state["names"].push_back("run " + std::to_string(state["runs"].get<int>()));
  std::ofstream("state.json") << state.dump(2);
}
