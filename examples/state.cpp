// [state] A JSON file that several programs change. No change is lost; what is corrupt is kept, and said.
#include <iostream>

#include "memoria_fs.hpp"

int main() {
  using memoria::json;
  const auto count = [](json& state) { state["runs"] = state.value("runs", 0) + 1; };
  memoria::update_json("state.json", json::object(), count);  // read, change and write: nobody comes in between
  std::cout << memoria::update_json("state.json", json::object(), count).dump() << '\n';

  memoria::atomic_write_text("state.json", "{\"runs\": 2");  // as a program without these functions may leave it
  memoria::recovery_options options;
  options.reporter = [](const memoria::recovery_report& report) {  // without one, a line on standard error
    std::cout << "not JSON: " << report.problem.reason << "; kept: " << memoria::read_text(report.backup) << '\n';
  };
  std::cout << memoria::load_json_with_recovery("state.json", json::object({{"runs", 0}}), options).dump() << '\n';

  // A change that takes minutes holds no lock: it is saved if nobody was quicker.
  memoria::save_json("state.json", json::object({{"runs", 5}}));
  memoria::json_snapshot slow = memoria::load_json_snapshot("state.json");
  memoria::update_json("state.json", json::object(), count);
  std::cout << memoria::save_json_if_unchanged("state.json", slow, "the slow one's") << '\n';
}

// Output:
// {"runs":2}
// not JSON: expected ',' or '}' after a member, found the end of the text; kept: {"runs": 2
// {"runs":0}
// 0
