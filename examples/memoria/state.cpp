// memoria log and memoria state: append an entry, read and change a JSON file, for scripts.
#include "memory.hpp"

namespace tool {
namespace {

std::string text_or_input(const std::string& given) { return given == "-" ? standard_input() : given; }

int log(const invocation& call, output& out) {
  const memory m(call.directory());
  const std::string text = text_or_input(call.arguments[1]);
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) misused(*call.what, "TEXT is empty");
  const std::string file = utf8_name(append_entry(m, now(), "Note", text));
  if (call.has("--json")) {
    out.write_json(json::object({{"format", "memoria log 1"}, {"log", json_text(file)}}));
  } else {
    out << "written to " << printable(file) << "\n";
  }
  return exit_clean;
}

// ---- state ----------------------------------------------------------------------------------------------------------

json value_of(const invocation& call) {
  if (call.arguments.size() < 4) misused(*call.what, "missing: VALUE");
  const std::string text = text_or_input(call.arguments[3]);
  if (call.has("--string")) return json(text);
  memoria::json_problem problem;
  json value = json::parse(text, {memoria::json_dialect::python}, problem);
  if (problem) misused(*call.what, "VALUE is not JSON: " + problem.message() + "; --string takes it as a text");
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

int show(const invocation& call, output& out, const memoria::path& file, const std::string& pointer) {
  const json root = memoria::load_json(file);
  const json* const value = root.find_pointer(pointer);
  if (value == nullptr) {
    warn("nothing at \"" + printable(pointer) + "\" in " + utf8_name(file));
    return exit_findings;
  }
  if (call.has("--string") && value->is_string()) {
    out << value->get<std::string_view>() << "\n";
  } else {
    out << value->dump({2, true, memoria::json_dialect::python}) << "\n";
  }
  return exit_clean;
}

int change(const invocation& call, output& out, const memoria::path& file, const std::string& pointer) {
  const bool setting_it = call.arguments[1] == "set";
  json value = setting_it ? value_of(call) : json();
  json backup;
  bool done = true;
  memoria::update_options options;
  options.recovery.reporter = [&](const memoria::recovery_report& r) {
    warn(printable(r.message()));
    backup = json_text(utf8_name(r.backup));
  };
  try {
    memoria::update_json(
        file, json(),
        [&](json& root) {
          done = setting_it ? (root.set_pointer(pointer, std::move(value)), true) : erase(root, pointer);
          return done;
        },
        options);
  } catch (const memoria::json_error&) {
    throw failure{"\"" + pointer + "\" cannot be set in " + utf8_name(file) +
                  ": it leads through what is no object or array"};
  }
  if (!done) warn("nothing at \"" + printable(pointer) + "\" in " + utf8_name(file));
  if (call.has("--json")) {
    out.write_json(json::object(
        {{"format", "memoria state 1"}, {"file", json_text(utf8_name(file))}, {"changed", done}, {"backup", backup}}));
  }
  return done && backup.is_null() ? exit_clean : exit_findings;
}

int state(const invocation& call, output& out) {
  const std::string& action = call.arguments[1];
  const memoria::path file = native_path(call.arguments[0]);
  const std::size_t wanted = action == "dump" ? 2 : action == "set" ? 4 : 3;
  if (action != "get" && action != "set" && action != "delete" && action != "dump") {
    misused(*call.what, "ACTION is get, set, delete or dump, not \"" + action + "\"");
  }
  if (call.arguments.size() < 3 && wanted > 2) misused(*call.what, "missing: POINTER");
  if (call.arguments.size() > wanted) misused(*call.what, "one argument too many: " + call.arguments.back());
  const std::string pointer = wanted > 2 ? call.arguments[2] : "";
  if (!pointer.empty() && pointer[0] != '/')
    misused(*call.what, "POINTER begins with \"/\", or is \"\" for everything: " + pointer);
  return action == "get" || action == "dump" ? show(call, out, file, pointer) : change(call, out, file, pointer);
}

}  // namespace

// clang-format off
const command log_command = {
    "log", {"DIR", "TEXT"}, "append an entry to today's log",
    {json_option},
    R"(
Appends to DIR/daily/YYYY-MM-DD.md, which is created with its heading if need
be. TEXT "-" is read from standard input. The entry is on disk, whole, when this
returns, whoever else writes there. $MEMORIA_TZ (Europe/Berlin) says which day
it is.

Examples
  memoria log memory "chose SQLite; reason: one file"
  git log -1 | memoria log memory -

Exit status: 0, or 2 if it could not run.
)",
    log};

const command state_command = {
    "state", {"FILE", "ACTION", "[POINTER]", "[VALUE]"}, "read or change a JSON file that others write, too",
    {{"--string", nullptr, "VALUE is a text, not JSON; get writes a text bare"}, json_option},
    R"(
ACTION: get POINTER, set POINTER VALUE, delete POINTER, or dump. POINTER is a
JSON Pointer: /users/0/name, "" for everything, in an array /- behind the last.
VALUE is JSON, "-" is read from standard input. A change reads, changes and
writes FILE as one step that no other writer comes into (memoria_fs.hpp or
another `memoria state`), durably. A FILE that is not JSON is kept under another
name, which is said, and a new one is begun (exit status 1).

Examples
  memoria state app.json set /users/ann '{"age": 7}'
  memoria state app.json set /title --string "a text"
  memoria state app.json get /users/ann/age
  memoria state memory/.memoria/state.json dump

Exit status: 0 done; 1 nothing there, or changed but FILE had not been JSON; 2
it could not run.

get and dump write JSON anyway; --json is for set and delete.
)",
    state};

}  // namespace tool
