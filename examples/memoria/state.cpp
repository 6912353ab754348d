// memoria log and memoria state: append an entry, read and change a JSON file, for scripts.
#include "memory.hpp"

namespace tool {
namespace {

std::string text_or_input(const std::string& given) { return given == "-" ? read_all(stdin) : given; }

json value_of(const invocation& call) {
  const std::string text = text_or_input(call.arguments[3]);
  if (call.has("--string")) return json(text);
  memoria::json_problem problem;
  json value = json::parse(text, {memoria::json_dialect::python}, problem);
  if (problem) call.misused("VALUE is not JSON: " + problem.message() + "; --string takes it as a text");
  return value;
}

// False: there was nothing.
bool erase(json& root, const std::string& pointer) {
  const json* const value = root.find_pointer(pointer);
  if (value == nullptr) return false;
  if (pointer.empty()) return root = json(), true;
  json& parent = *root.find_pointer(pointer.substr(0, pointer.rfind('/')));
  auto at = parent.begin();
  while (&*at != value) ++at;
  parent.erase(at);
  return true;
}

int nothing_there(const std::string& pointer, const std::string& file) {
  warn("nothing at \"" + printable(pointer) + "\" in " + file);
  return exit_findings;
}

int show(const invocation& call, const std::string& pointer) {
  const json root = memoria::load_json(native_path(call.arguments[0]));
  const json* const value = root.find_pointer(pointer);
  if (value == nullptr) return nothing_there(pointer, call.arguments[0]);
  const bool bare = call.has("--string") && value->is_string();
  cout << (bare ? value->get<std::string>() : value->dump({2, true, memoria::json_dialect::python})) << "\n";
  return exit_clean;
}

int change(const invocation& call, const std::string& pointer) {
  const bool setting_it = call.arguments[1] == "set";
  json value = setting_it ? value_of(call) : json(), backup;
  bool done = true;
  memoria::update_options options;
  options.recovery.reporter = [&](const memoria::recovery_report& r) {
    warn(printable(r.message()));
    backup = json_text(utf8_name(r.backup));
  };
  const std::string& file = call.arguments[0];
  const auto change_it = [&](json& root) {
    done = setting_it ? (root.set_pointer(pointer, std::move(value)), true) : erase(root, pointer);
    return done;
  };
  try {
    memoria::update_json(native_path(file), json(), change_it, options);
  } catch (const memoria::json_error&) {
    throw failure{"\"" + pointer + "\" cannot be set in " + file + ": it leads through what is no object or array"};
  }
  call.report(json::object({{"file", json_text(file)}, {"changed", done}, {"backup", backup}}), [] {});
  if (!done) return nothing_there(pointer, file);
  return backup.is_null() ? exit_clean : exit_findings;
}

}  // namespace

int log(const invocation& call) {
  const std::string text = text_or_input(call.arguments[1]);
  if (is_blank(text)) call.misused("TEXT is empty");
  const std::string file = utf8_name(append_entry(memory(call.directory()), "Note", text));
  call.report(json::object({{"log", json_text(file)}}), [&] { cout << "written to " << printable(file) << "\n"; });
  return exit_clean;
}

int state(const invocation& call) {
  static const std::map<std::string, std::size_t> actions = {{"dump", 2}, {"get", 3}, {"delete", 3}, {"set", 4}};
  const std::string& action = call.arguments[1];
  if (actions.count(action) == 0) call.misused("ACTION is get, set, delete or dump, not \"" + action + "\"");
  const std::size_t wanted = actions.at(action), given = call.arguments.size();
  if (given < wanted) call.misused(given == 2 ? "missing: POINTER" : "missing: VALUE");
  if (given > wanted) call.misused("one argument too many: " + call.arguments.back());
  const std::string pointer = wanted > 2 ? call.arguments[2] : "";
  if (!pointer.empty() && pointer[0] != '/')
    call.misused("POINTER begins with \"/\", or is \"\" for everything: " + pointer);
  return action == "get" || action == "dump" ? show(call, pointer) : change(call, pointer);
}

}  // namespace tool
