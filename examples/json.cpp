// [json] Values read, changed in one place, written back with nothing else moved.
#include <iostream>

#include "memoria_fs.hpp"

int main() {
  using memoria::json;
  json config = json::parse(R"({"zeta": 1, "big": 12345678901234567890123, "list": [1, 2.50]})");
  config["list"].push_back("three");
  config.set_pointer("/users/ann/age", 7);
  std::cout << config.dump() << '\n';  // the order of keys and every digit of the big number are kept

  std::cout << config["list"][1].get<double>() << ' ' << config.value("missing", "fallback") << '\n';
  for (const auto& [key, value] : config.items()) std::cout << key << ": " << value.type_name() << '\n';

  memoria::json_problem problem;
  json::parse("{\"a\": 1,\n \"b\" 2}", problem);
  std::cout << problem.message("config.json") << '\n';
}

// Output:
// {"zeta":1,"big":12345678901234567890123,"list":[1,2.5,"three"],"users":{"ann":{"age":7}}}
// 2.5 fallback
// zeta: number
// big: number
// list: array
// users: object
// config.json:2:6: expected ':' after a key, found '2'
