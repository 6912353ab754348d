// memoria: looks after a directory of linked Markdown notes. `memoria --help` says what it can do.
//
//   c++ -std=c++17 -O2 -I.. memoria.cpp -o memoria
//
// The library does the work (memoria::link_graph, memoria::rename_article); what is here is the command line, and how
// findings are shown to people and to programs. From top to bottom: the system, output, arguments, one block for each
// command, the table of commands, main.

#include "memoria_fs.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
// After windows.h, on which they depend.
#include <fcntl.h>
#include <io.h>
#include <shellapi.h>
#ifdef _MSC_VER
#pragma comment(lib, "shell32")
#endif
#else
#include <csignal>

#include <unistd.h>
#endif

namespace {

using memoria::graph_link;
using memoria::graph_note;
using memoria::json;
using memoria::link_graph;
using memoria::link_status;

constexpr int exit_clean = 0, exit_findings = 1, exit_failed = 2;

// Ends the program with a message and exit_failed.
struct failure {
  std::string message;
};

// ---- The system: all that differs between platforms -----------------------------------------------------------------

#ifdef _WIN32

std::string narrow(const wchar_t* text) {
  const int size = ::WideCharToMultiByte(CP_UTF8, 0, text, -1, nullptr, 0, nullptr, nullptr);
  std::string out(static_cast<std::size_t>(std::max(size, 1)), '\0');
  ::WideCharToMultiByte(CP_UTF8, 0, text, -1, out.data(), size, nullptr, nullptr);
  out.pop_back();  // the final NUL
  return out;
}

// main's argv went through the ANSI code page and has lost what that does not have; the command line itself has not.
std::vector<std::string> utf8_arguments(int, char**) {
  int count = 0;
  wchar_t** wide = ::CommandLineToArgvW(::GetCommandLineW(), &count);
  std::vector<std::string> out;
  for (int i = 1; i < count; ++i) out.push_back(narrow(wide[i]));
  ::LocalFree(wide);
  return out;
}

memoria::path native_path(const std::string& utf8) {
  const int size = ::MultiByteToWideChar(CP_UTF8, 0, utf8.data(), static_cast<int>(utf8.size()), nullptr, 0);
  std::wstring wide(static_cast<std::size_t>(size), L'\0');
  ::MultiByteToWideChar(CP_UTF8, 0, utf8.data(), static_cast<int>(utf8.size()), wide.data(), size);
  return memoria::path(wide);
}

std::string utf8_name(const memoria::path& p) { return narrow(p.generic_wstring().c_str()); }

bool is_terminal(std::FILE* stream) { return ::_isatty(::_fileno(stream)) != 0; }

bool understands_colours() {
  const HANDLE console = ::GetStdHandle(STD_OUTPUT_HANDLE);
  DWORD mode = 0;
  return ::GetConsoleMode(console, &mode) && ::SetConsoleMode(console, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING);
}

// Bytes as given, shown as UTF-8. The console keeps its code page when a program ends, so it is put back.
struct console_setup {
  console_setup() { ::_setmode(::_fileno(stdout), _O_BINARY), ::SetConsoleOutputCP(CP_UTF8); }
  console_setup(const console_setup&) = delete;
  console_setup& operator=(const console_setup&) = delete;
  ~console_setup() { ::SetConsoleOutputCP(before); }
  const UINT before = ::GetConsoleOutputCP();
};

#else

std::vector<std::string> utf8_arguments(int argc, char** argv) { return {argv + std::min(argc, 1), argv + argc}; }

memoria::path native_path(const std::string& utf8) { return memoria::path(utf8); }

std::string utf8_name(const memoria::path& p) { return p.generic_string(); }

bool is_terminal(std::FILE* stream) { return ::isatty(::fileno(stream)) == 1; }

bool understands_colours() {
  const char* terminal = std::getenv("TERM");
  return terminal != nullptr && std::string_view(terminal) != "dumb";
}

// A reader that has gone away (`memoria check notes | head`) is an error of writing, not a signal that kills us.
struct console_setup {
  console_setup() { std::signal(SIGPIPE, SIG_IGN); }
};

#endif

// ---- Output ---------------------------------------------------------------------------------------------------------

bool wants_colours() {
  const char* no_colour = std::getenv("NO_COLOR");  // https://no-color.org: set and not empty
  return (no_colour == nullptr || *no_colour == '\0') && is_terminal(stdout) && understands_colours();
}

enum class style { bold, error, warning, faint };

// Standard output. close() says whether everything arrived.
class output {
 public:
  output& operator<<(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() && error_ == 0) error_ = errno;
    return *this;
  }
  output& operator<<(std::size_t number) { return *this << std::to_string(number); }

  output& write(style how, std::string_view text) {
    if (!colours_) return *this << text;
    const char* const codes[] = {"\x1b[1m", "\x1b[1;31m", "\x1b[33m", "\x1b[2m"};
    return *this << codes[static_cast<std::size_t>(how)] << text << "\x1b[0m";
  }

  void close() {
    if (std::fclose(stdout) != 0 && error_ == 0) error_ = errno;
    if (error_ == 0) return;
    // Somebody who closed the pipe has seen enough and needs no message.
    if (error_ == EPIPE) throw failure{""};
    throw failure{"cannot write to standard output: " + std::generic_category().message(error_)};
  }

 private:
  bool colours_ = wants_colours();
  int error_ = 0;  // the first
};

// Names and links are what strangers wrote: control characters must not reach the terminal.
std::string printable(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool c1 = byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (byte == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7F || c1) {
      out.append("\\x").append(1, digits[byte >> 4]).append(1, digits[byte & 15]);
    } else {
      out += text[i];
    }
  }
  return out;
}

bool is_utf8(std::string_view text) {
  std::error_code ec;
  static_cast<void>(json(text).dump(ec));
  return !ec;
}

// JSON is UTF-8; names of files on POSIX, and links in broken notes, need not be. What is not becomes U+FFFD.
json json_text(std::string_view text) {
  if (is_utf8(text)) return json(text);
  std::string repaired;
  while (!text.empty()) {
    std::size_t length = 1;  // the shortest valid beginning is one character
    while (length <= 4 && !is_utf8(text.substr(0, length))) ++length;
    const bool valid = length <= 4;
    repaired += valid ? text.substr(0, length) : std::string_view("\xEF\xBF\xBD");
    text.remove_prefix(valid ? length : 1);
  }
  return json(repaired);
}

template <class Range, class F>
json json_array(const Range& items, F&& each) {
  json out = json::array();
  for (const auto& item : items) out.push_back(each(item));
  return out;
}

void write_json(output& out, const json& value) { out << value.dump(2) << "\n"; }

// "1 note", "2 notes"
std::string counted(std::size_t n, const std::string& noun) {
  return std::to_string(n) + " " + noun + (n == 1 ? "" : "s");
}

// How many letters have to be changed, added or taken away.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({changed, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

// What the user may have meant: the candidate that differs least, by two letters at most; or nothing.
std::string closest(std::string_view word, const std::vector<std::string>& candidates) {
  std::size_t best = std::min<std::size_t>(2, (word.size() + 1) / 3) + 1;  // what is found has to be better
  std::string found;
  for (const std::string& candidate : candidates) {
    const std::size_t longer = std::max(word.size(), candidate.size()),
                      shorter = std::min(word.size(), candidate.size());
    if (longer - shorter >= best) continue;
    const std::size_t d = distance(word, candidate);
    if (d >= best) continue;
    best = d;
    found = candidate;
  }
  return found;
}

// "reading 1200 of 6591 notes" on standard error, if that is a terminal and the work takes longer than half a second.
class progress_line {
 public:
  progress_line() = default;
  progress_line(const progress_line&) = delete;
  progress_line& operator=(const progress_line&) = delete;
  ~progress_line() {
    if (shown_) std::fputs("\r\x1b[K", stderr);
  }

  void operator()(std::size_t done, std::size_t total) {
    const auto now = std::chrono::steady_clock::now();
    if (!terminal_ || now < next_) return;
    next_ = now + std::chrono::milliseconds(100);
    shown_ = true;
    std::fprintf(stderr, "\rreading %zu of %zu notes", done, total);
  }

 private:
  bool terminal_ = is_terminal(stderr);
  bool shown_ = false;
  std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
};

void warn(const std::string& message) { std::fprintf(stderr, "memoria: %s\n", message.c_str()); }

// ---- Arguments ------------------------------------------------------------------------------------------------------

struct option {
  const char* name;
  const char* value;  // what its value is called; null: it has none
  const char* help;
};

struct invocation;

struct command {
  const char* name;
  std::vector<const char*> arguments;
  const char* summary;
  std::vector<option> options;
  const char* more;  // the end of its help: examples, exit status, what --json writes
  int (*run)(const invocation&, output&);
};

// One call of one command.
struct invocation {
  const command* what = nullptr;
  std::vector<std::string> arguments;
  std::map<std::string, std::string> options;

  bool has(const char* name) const { return options.count(name) > 0; }
  std::string directory() const { return arguments[0]; }
};

std::string usage(const command& c) {
  std::string line = std::string("memoria ") + c.name;
  for (const char* argument : c.arguments) line += std::string(" ") + argument;
  return line;
}

[[noreturn]] void misused(const command& c, const std::string& message) {
  throw failure{message + "\nusage: " + usage(c) + " [OPTIONS]\n`memoria " + c.name + " --help` says more"};
}

const option& find_option(const command& c, const std::string& name) {
  std::vector<std::string> names;
  for (const option& o : c.options) {
    if (name == o.name) return o;
    names.push_back(o.name);
  }
  const std::string meant = closest(name, names);
  misused(c, "no such option: " + name + (meant.empty() ? "" : "; did you mean " + meant + "?"));
}

// Options may stand anywhere; behind "--" everything is an argument.
invocation parse(const command& c, const std::vector<std::string>& words) {
  invocation call;
  call.what = &c;
  bool only_arguments = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (only_arguments || word.size() < 2 || word[0] != '-') {
      call.arguments.push_back(word);
    } else if (word == "--") {
      only_arguments = true;
    } else {
      const std::size_t equals = word.find('=');
      const option& o = find_option(c, word.substr(0, equals));
      const bool has_value = equals != std::string::npos;
      if (o.value == nullptr && has_value) misused(c, std::string(o.name) + " takes no value");
      if (o.value != nullptr && !has_value && i + 1 == words.size()) misused(c, word + " needs a value: " + o.value);
      call.options[o.name] = o.value == nullptr ? "" : has_value ? word.substr(equals + 1) : words[++i];
    }
  }
  if (call.arguments.size() < c.arguments.size()) {
    misused(c, std::string("missing: ") + c.arguments[call.arguments.size()]);
  }
  if (call.arguments.size() > c.arguments.size()) misused(c, "one argument too many: " + call.arguments.back());
  for (std::size_t i = 0; i < c.arguments.size(); ++i) {  // an empty DIR is a forgotten variable, not this directory
    if (call.arguments[i].empty()) misused(c, std::string(c.arguments[i]) + " is empty");
  }
  return call;
}

// ---- What the commands share ----------------------------------------------------------------------------------------

constexpr option resolve_option = {"--resolve", "HOW",
                                   "name (default): as Obsidian does, by path or name,\n"
                                   "letter case folded, aliases considered; path: exactly\n"
                                   "DIR/<target>.md, as the Python original does"};
constexpr option code_option = {"--include-code", nullptr, "links in code, comments and math count, too"};
constexpr option hidden_option = {"--hidden", nullptr, "also files and folders that begin with a dot"};
constexpr option json_option = {"--json", nullptr, "write JSON"};

memoria::link_resolution resolution_of(const invocation& call) {
  if (!call.has("--resolve")) return memoria::link_resolution::name;
  const std::string& how = call.options.at("--resolve");
  if (how == "name") return memoria::link_resolution::name;
  if (how == "path") return memoria::link_resolution::exact;
  misused(*call.what, "--resolve is name or path, not \"" + how + "\"");
}

memoria::graph_options graph_options_of(const invocation& call) {
  memoria::graph_options options;
  options.resolve = resolution_of(call);
  options.include_code = call.has("--include-code");
  options.include_hidden = call.has("--hidden");
  options.check_anchors = call.has("--anchors");
  if (options.check_anchors && options.resolve == memoria::link_resolution::exact) {
    misused(*call.what, "--anchors needs --resolve name: a path to the letter knows no headings");
  }
  return options;
}

link_graph read_notes(const invocation& call) {
  std::error_code ec;
  progress_line progress;
  link_graph graph(native_path(call.directory()), graph_options_of(call), progress, ec);
  if (ec) throw failure{"cannot read the directory " + call.directory() + ": " + ec.message()};
  if (graph.notes().empty()) warn("there is no note (a file named *.md) in " + call.directory());
  return graph;
}

// The path of a note as the user would write it from where he is, so that editors can jump to it.
std::string shown_path(const invocation& call, std::string_view name) {
  const memoria::path directory = native_path(call.directory());
  const std::string shown = directory == "." ? "" : utf8_name(directory / "");
  return printable(shown + std::string(name));
}

// The name in DIR of a file given by its path from where the user is, which is what shells complete; empty: not in DIR.
std::string name_inside(const invocation& call, const std::string& file) {
  std::error_code ec;
  const memoria::path directory = absolute(native_path(call.directory()) / "", ec).lexically_normal();
  const memoria::path named = ec ? memoria::path() : absolute(native_path(file), ec).lexically_normal();
  const std::string inside = ec ? "" : utf8_name(named.lexically_relative(directory));
  return inside.compare(0, 2, "..") == 0 || inside == "." ? "" : inside;
}

std::string shown_position(const invocation& call, const link_graph& graph, const graph_link& link) {
  return shown_path(call, graph.notes()[link.source].name) + ":" + std::to_string(link.position.line) + ":" +
         std::to_string(link.position.column) + ": ";
}

std::string shown_link(const graph_link& link) { return (link.embed ? "![[" : "[[") + printable(link.target) + "]]"; }

std::string_view stem(std::string_view name) {
  name.remove_prefix(name.rfind('/') + 1);  // npos + 1 is 0
  return name.substr(0, name.size() - 3);   // every note ends in ".md"
}

// How a link would name the note, if nothing stands against it.
std::string name_in_links(const invocation& call, std::string_view name) {
  const bool by_path = resolution_of(call) == memoria::link_resolution::exact;
  return std::string(by_path ? name.substr(0, name.size() - 3) : stem(name));
}

// The number of the note that the user named as a link would, or by its path from where he is.
std::size_t find_note(const invocation& call, const link_graph& graph, const std::string& name) {
  if (const auto found = graph.find(name)) return *found;
  const std::string inside = name_inside(call, name);
  std::vector<std::string> names;
  for (const graph_note note : graph.notes()) {
    if (note.name == inside) return note.index;
    names.push_back(name_in_links(call, note.name));
  }
  const std::string meant = closest(name, names);
  throw failure{"there is no note \"" + name + "\" in " + call.directory() +
                (meant.empty() ? "" : "; did you mean \"" + meant + "\"?")};
}

json json_note(const graph_note& note) {
  return json::object({{"name", json_text(note.name)}, {"inbound", note.inbound}, {"outbound", note.outbound}});
}

json json_link(const link_graph& graph, const graph_link& link) {
  const bool to_note = link.destination != graph_link::none;
  return json::object({{"note", json_text(graph.notes()[link.source].name)},
                       {"line", link.position.line},
                       {"column", link.position.column},
                       {"target", json_text(link.target)},
                       {"destination", to_note ? json_text(graph.notes()[link.destination].name) : json()},
                       {"embed", link.embed},
                       {"frontmatter", link.frontmatter}});
}

json json_failure(const memoria::graph_failure& f) {
  return json::object({{"name", json_text(f.name)}, {"reason", json_text(f.code.message())}});
}

// ---- memoria check --------------------------------------------------------------------------------------------------

// What was found in a directory, sorted by kind.
struct report {
  explicit report(link_graph&& of) : graph(std::move(of)) {
    for (const graph_link link : graph.links()) {
      if (link.status != link_status::ok) links[static_cast<std::size_t>(link.status)].push_back(link);
    }
  }

  const std::vector<graph_link>& with(link_status status) const { return links[static_cast<std::size_t>(status)]; }

  // A note that could not be read may hold anything: a directory with one is not clean.
  std::size_t errors() const {
    return with(link_status::broken).size() + with(link_status::unsafe).size() + with(link_status::no_anchor).size() +
           graph.failures().size();
  }
  std::size_t warnings() const { return with(link_status::ambiguous).size() + graph.orphans().size(); }

  link_graph graph;
  std::vector<graph_link> links[5];  // by status
};

// Writes one list of findings, or its first entries unless --all is given: nobody reads 6,000 lines, and a script that
// needs them has --json.
class list_writer {
 public:
  static constexpr std::size_t shown_by_default = 40;

  list_writer(output& out, bool everything) : out_(out), everything_(everything) {}

  // print(item) writes one line without its end.
  template <class Range, class Print>
  void write(const Range& items, const char* noun, Print&& print) {
    const std::size_t all = items.size();
    if (all == 0) return;
    const std::size_t shown = everything_ || all <= shown_by_default + 1 ? all : shown_by_default;
    for (std::size_t i = 0; i < shown; ++i) {
      print(items[i]);
      out_ << "\n";
    }
    if (shown < all) {
      out_.write(style::faint, "... and " + counted(all - shown, std::string("more ") + noun) + ": --all shows them");
      out_ << "\n";
    }
    out_ << "\n";
  }

  void label(bool error) { error ? out_.write(style::error, "error: ") : out_.write(style::warning, "warning: "); }

 private:
  output& out_;
  bool everything_;
};

std::vector<graph_note> by_inbound(const link_graph& graph) {
  std::vector<graph_note> notes;
  for (const graph_note note : graph.notes()) notes.push_back(note);
  std::stable_sort(notes.begin(), notes.end(),
                   [](const graph_note& a, const graph_note& b) { return a.inbound > b.inbound; });
  return notes;
}

void write_inbound(output& out, const invocation& call, const link_graph& graph) {
  if (graph.notes().empty()) return;
  out << "inbound links: how many other notes link to each\n";
  list_writer list(out, call.has("--all") || call.has("--inbound"));
  list.write(by_inbound(graph), "note", [&](const graph_note& note) {
    const std::string number = std::to_string(note.inbound);
    out << std::string(number.size() < 6 ? 6 - number.size() : 0, ' ') << number << "  " << printable(note.name);
  });
}

void write_warnings(output& out, const invocation& call, const report& found) {
  const link_graph& graph = found.graph;
  const bool strict = call.has("--strict");
  list_writer list(out, call.has("--all"));
  list.write(graph.orphans(), "orphan", [&](const graph_note& note) {
    out << shown_path(call, note.name) << ": ";
    list.label(strict);
    out << "orphan, no other note links here";
  });
  list.write(found.with(link_status::ambiguous), "ambiguous link", [&](const graph_link& link) {
    out << shown_position(call, graph, link);
    list.label(strict);
    out << "ambiguous link " << shown_link(link) << ":";
    const char* between = " ";
    for (const graph_note candidate : graph.candidates(link.index)) {
      out << between << printable(candidate.name);
      between = " or ";
    }
  });
}

void write_errors(output& out, const invocation& call, const report& found) {
  const link_graph& graph = found.graph;
  list_writer list(out, call.has("--all"));
  list.write(graph.failures(), "unreadable note", [&](const memoria::graph_failure& f) {
    out << shown_path(call, f.name) << ": ";
    list.label(true);
    out << "cannot be read: " << f.code.message();
  });
  list.write(found.with(link_status::unsafe), "unsafe link", [&](const graph_link& link) {
    out << shown_position(call, graph, link);
    list.label(true);
    out << "link " << shown_link(link) << " leads out of the directory";
  });
  list.write(found.with(link_status::no_anchor), "missing anchor", [&](const graph_link& link) {
    const bool block = link.target.find("#^") != std::string_view::npos;
    out << shown_position(call, graph, link);
    list.label(true);
    out << "link " << shown_link(link) << ": " << printable(graph.notes()[link.destination].name)
        << (block ? " has no such block" : " has no such heading");
  });
  std::vector<std::string> names;
  for (const graph_note note : graph.notes()) names.push_back(name_in_links(call, note.name));
  list.write(found.with(link_status::broken), "broken link", [&](const graph_link& link) {
    out << shown_position(call, graph, link);
    list.label(true);
    out << "broken link " << shown_link(link);
    const std::string meant = closest(link.target.substr(0, link.target.find('#')), names);
    if (!meant.empty()) out << "; did you mean [[" << printable(meant) << "]]?";
  });
}

void write_summary(output& out, const invocation& call, const report& found) {
  const link_graph& graph = found.graph;
  out.write(style::bold, counted(graph.notes().size(), "note") + ", " + counted(graph.links().size(), "link"));
  out << ": " << found.with(link_status::broken).size() << " broken, " << found.with(link_status::unsafe).size()
      << " unsafe, " << found.with(link_status::ambiguous).size() << " ambiguous, "
      << counted(graph.orphans().size(), "orphan");
  if (call.has("--anchors")) out << ", " << counted(found.with(link_status::no_anchor).size(), "missing anchor");
  if (!graph.failures().empty()) out << ", " << graph.failures().size() << " unreadable";
  out << "\n";
}

json json_links(const link_graph& graph, const std::vector<graph_link>& links) {
  return json_array(links, [&](const graph_link& link) {
    json item = json_link(graph, link);
    if (link.status == link_status::ambiguous) {
      item["candidates"] =
          json_array(graph.candidates(link.index), [](const graph_note& note) { return json_text(note.name); });
    }
    return item;
  });
}

json json_summary(const report& found) {
  return json::object({{"notes", found.graph.notes().size()},
                       {"links", found.graph.links().size()},
                       {"broken", found.with(link_status::broken).size()},
                       {"unsafe", found.with(link_status::unsafe).size()},
                       {"missing_anchors", found.with(link_status::no_anchor).size()},
                       {"unreadable", found.graph.failures().size()},
                       {"ambiguous", found.with(link_status::ambiguous).size()},
                       {"orphans", found.graph.orphans().size()}});
}

json json_report(const invocation& call, const report& found, bool clean) {
  const link_graph& graph = found.graph;
  return json::object({{"format", "memoria check 1"},
                       {"directory", json_text(call.directory())},
                       {"clean", clean},
                       {"summary", json_summary(found)},
                       {"broken", json_links(graph, found.with(link_status::broken))},
                       {"unsafe", json_links(graph, found.with(link_status::unsafe))},
                       {"missing_anchors", json_links(graph, found.with(link_status::no_anchor))},
                       {"unreadable", json_array(graph.failures(), json_failure)},
                       {"ambiguous", json_links(graph, found.with(link_status::ambiguous))},
                       {"orphans", json_array(graph.orphans(), [](const graph_note& n) { return json_text(n.name); })},
                       {"notes", json_array(graph.notes(), json_note)}});
}

int check(const invocation& call, output& out) {
  const report found(read_notes(call));
  const bool clean = found.errors() == 0 && (!call.has("--strict") || found.warnings() == 0);
  if (call.has("--json")) {
    write_json(out, json_report(call, found, clean));
  } else {
    // What matters most comes last, where a terminal shows it.
    write_inbound(out, call, found.graph);
    write_warnings(out, call, found);
    write_errors(out, call, found);
    write_summary(out, call, found);
  }
  return clean ? exit_clean : exit_findings;
}

constexpr const char* check_help = R"(
What it finds, written as compilers write it, FILE:LINE:COLUMN: error: ...
  errors    broken links, links that leave the directory, notes that cannot be
            read; with --anchors also headings and blocks that are not there
  warnings  orphans (no other note links to them), ambiguous links (several
            notes have the name)
Before them comes how many other notes link to each note, the last line sums
up. Each list shows its first 40 entries. Lines and columns count from 1,
columns in bytes.

Examples
  memoria check notes                     what is wrong in notes/
  memoria check notes --anchors           also [[note#heading]], [[note#^block]]
  memoria check notes --all | grep orphan
  memoria check notes --strict --json     for a program: warnings count, too

Exit status: 0 no errors (with --strict no warnings either), 1 something was
found, 2 it could not run.

--json writes one object, always complete. Names are relative to DIR, with "/"
on every system.
  format      "memoria check 1"; the number changes when a member's meaning does
  directory   DIR
  clean       true if the exit status is 0
  summary     numbers: notes, links, broken, unsafe, missing_anchors,
              unreadable, ambiguous, orphans
  broken, unsafe, missing_anchors, ambiguous
              arrays of links: note (where it stands), line, column, target (as
              written, without the display text), destination (the note it leads
              to, or null), embed, frontmatter (true or false); ambiguous ones
              also candidates, the best first
  unreadable  array of objects: name, reason
  orphans     array of names
  notes       array of objects: name, inbound (other notes that link here),
              outbound (links in it)
)";

// ---- memoria links --------------------------------------------------------------------------------------------------

const char* status_name(const graph_link& link) {
  switch (link.status) {
    case link_status::ok: return "ok";
    case link_status::broken: return "broken";
    case link_status::ambiguous: return "ambiguous";
    case link_status::unsafe: return "unsafe";
    case link_status::no_anchor: return "missing anchor";
  }
  return "";
}

json json_links_of(const link_graph& graph, const graph_note& note, const std::string& directory) {
  const auto with_status = [&](const graph_link& link) {
    json item = json_link(graph, link);
    item["status"] = status_name(link);
    return item;
  };
  const auto plain = [&](const graph_link& link) { return json_link(graph, link); };
  return json::object({{"format", "memoria links 1"},
                       {"directory", json_text(directory)},
                       {"note", json_note(note)},
                       {"links", json_array(graph.links_of(note.index), with_status)},
                       {"backlinks", json_array(graph.backlinks(note.index), plain)}});
}

void write_links_of(output& out, const invocation& call, const link_graph& graph, const graph_note& note) {
  for (const graph_link link : graph.links_of(note.index)) {
    out << shown_position(call, graph, link) << shown_link(link);
    out.write(style::faint, " -> ");
    if (link.destination != graph_link::none) out << printable(graph.notes()[link.destination].name);
    if (link.destination == graph_link::none && link.status == link_status::ok) out << "a file that is no note";
    if (link.status != link_status::ok) {
      if (link.destination != graph_link::none) out << ", ";
      out.write(link.status == link_status::ambiguous ? style::warning : style::error, status_name(link));
    }
    out << "\n";
  }
  if (note.outbound > 0) out << "\n";
  for (const graph_link link : graph.backlinks(note.index)) {
    out << shown_position(call, graph, link) << shown_link(link) << "\n";
  }
  if (!graph.backlinks(note.index).empty()) out << "\n";
  out.write(style::bold, printable(note.name));
  out << ": " << counted(note.outbound, "link") << " in it, " << counted(graph.backlinks(note.index).size(), "link")
      << " to it from " << counted(note.inbound, "other note") << "\n";
}

int links(const invocation& call, output& out) {
  const link_graph graph = read_notes(call);
  const graph_note note = graph.notes()[find_note(call, graph, call.arguments[1])];
  if (call.has("--json")) {
    write_json(out, json_links_of(graph, note, call.directory()));
  } else {
    write_links_of(out, call, graph, note);
  }
  return exit_clean;
}

constexpr const char* links_help = R"(
First the links in the note and where they lead, then the links to it from
other notes. NOTE is what a link would say (a name, a path, an alias), or the
path of the file.

Examples
  memoria links notes fsync
  memoria links notes "notes/locking/lock file.md" --json

Exit status: 0, or 2 if it could not run (also if there is no such note).

--json writes one object: format ("memoria links 1"), directory, note (name,
inbound, outbound), links and backlinks (arrays of links as `memoria check
--json` has them; those in links also have status: "ok", "broken", "ambiguous",
"unsafe" or "missing anchor").
)";

// ---- memoria rename -------------------------------------------------------------------------------------------------

json json_change(const memoria::link_change& change) {
  return json::object({{"note", json_text(change.note)},
                       {"line", change.position.line},
                       {"column", change.position.column},
                       {"before", json_text(change.before)},
                       {"after", json_text(change.after)}});
}

json json_rename(const memoria::rename_report& done, const invocation& call, const std::string& from,
                 const std::string& to) {
  return json::object({{"format", "memoria rename 1"},
                       {"directory", json_text(call.directory())},
                       {"from", json_text(from)},
                       {"to", json_text(to)},
                       {"dry_run", call.has("--dry-run")},
                       {"moved", done.moved},
                       {"changes", json_array(done.changes, json_change)},
                       {"unreadable", json_array(done.failures, json_failure)}});
}

void write_rename(output& out, const memoria::rename_report& done, const invocation& call, const std::string& from,
                  const std::string& to) {
  for (const memoria::link_change& change : done.changes) {
    out << shown_path(call, change.note) << ":" << change.position.line << ":" << change.position.column << ": [["
        << printable(change.before) << "]]";
    out.write(style::faint, " -> ") << "[[" << printable(change.after) << "]]\n";
  }
  if (!done.changes.empty()) out << "\n";
  const bool dry = call.has("--dry-run");
  const std::string rewritten = counted(done.changes.size(), "link") + (dry ? " would be rewritten" : " rewritten");
  if (!done.moved && !dry) {
    out << "there is no note " << printable(from) << ", but there is " << printable(to) << ": moved already; "
        << rewritten << "\n";
  } else {
    out << printable(from) << (dry ? " would become " : " is now ") << printable(to) << ", " << rewritten << "\n";
  }
  for (const memoria::graph_failure& f : done.failures) {
    warn(shown_path(call, f.name) + " could not be read, so links in it were not looked at: " + f.code.message());
  }
}

bool is_note_in(const memoria::path& directory, const std::string& name) {
  std::error_code ignored;
  const memoria::path file = native_path(name);
  return file.is_relative() && (exists(directory / file, ignored) || exists((directory / file) += ".md", ignored));
}

// FROM and TO are paths from DIR. If there is no such FROM, both may be paths from where the user is.
void find_names(const invocation& call, std::string& from, std::string& to) {
  if (!is_note_in(native_path(call.directory()), from)) {
    for (std::string* name : {&from, &to}) {
      if (const std::string inside = name_inside(call, *name); !inside.empty()) *name = inside;
    }
  }
  if (!to.empty() && to.back() == '/') to += from.substr(from.rfind('/') + 1);  // into that folder
}

memoria::rename_report rename_or_explain(const invocation& call, const std::string& from, const std::string& to,
                                         const memoria::rename_options& options) {
  try {
    return memoria::rename_article(native_path(call.directory()), from, to, options);
  } catch (const memoria::error& e) {
    if (e.code() == std::errc::no_such_file_or_directory && !is_note_in(native_path(call.directory()), from)) {
      throw failure{"there is no note " + from + " in " + call.directory()};
    }
    if (e.code() == std::errc::file_exists) throw failure{to + " exists already; nothing was changed"};
    if (e.code() == memoria::errc::unsafe_path) {
      throw failure{"\"" + from + "\" or \"" + to + "\" cannot be a note's name here: it has to stay in " +
                    call.directory() +
                    ", not to begin with a dot, and not to hold []|#^ or line breaks; nothing was changed"};
    }
    throw;
  }
}

int rename(const invocation& call, output& out) {
  std::string from = call.arguments[1], to = call.arguments[2];
  find_names(call, from, to);
  memoria::rename_options options;
  options.dry_run = call.has("--dry-run");
  options.resolve = resolution_of(call);
  options.include_code = call.has("--include-code");
  options.include_hidden = call.has("--hidden");
  const memoria::rename_report done = rename_or_explain(call, from, to, options);
  if (call.has("--json")) {
    write_json(out, json_rename(done, call, from, to));
  } else {
    write_rename(out, done, call, from, to);
  }
  return done.failures.empty() ? exit_clean : exit_findings;
}

constexpr const char* rename_help = R"(
FROM and TO are paths from DIR; ".md" may be left out. A TO that ends in "/" is
a folder. A link keeps the style it was written in, its heading, its display
text and every other byte around it. Nothing is overwritten: if TO is there,
nothing happens. Killed in the middle, it leaves no dead link, and the same
command again finishes. A file .memoria.lock stays in DIR: two renames at a time
wait for each other.

Examples
  memoria rename notes fsync "sync to disk" --dry-run     what would change
  memoria rename notes fsync "sync to disk"
  memoria rename notes inbox archive/

Exit status: 0 done; 1 done, but some notes could not be read, and links in them
may be dead now; 2 it could not run.

--json writes one object: format ("memoria rename 1"), directory, from, to,
dry_run, moved (false: FROM was gone and TO was there already), changes (array:
note, line and column before the change, before, after), unreadable (array:
name, reason).
)";

// ---- memoria graph --------------------------------------------------------------------------------------------------

// The notes and what is between them: links from one note to another become one edge with their number, links of a note
// to itself and to files that are no notes are left out.
struct drawing {
  explicit drawing(const link_graph& graph) {
    for (const graph_link link : graph.links()) {
      const bool dead = link.status == link_status::broken || link.status == link_status::unsafe;
      if (dead) ++dead_ends[{link.source, std::string(link.target)}];
      if (!dead && link.destination != graph_link::none && link.destination != link.source) {
        ++edges[{link.source, link.destination}];
      }
    }
  }

  std::map<std::pair<std::size_t, std::size_t>, std::size_t> edges;      // (from, to): how many links
  std::map<std::pair<std::size_t, std::string>, std::size_t> dead_ends;  // (from, target): how many
};

std::string dot_quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : printable(text)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string decimal(double value) {  // with a point whatever the locale, which a DOT file does not know
  const auto hundredths = static_cast<std::size_t>(value * 100 + 0.5);
  const std::string tail = std::to_string(hundredths % 100);
  return std::to_string(hundredths / 100) + (tail.size() == 1 ? ".0" : ".") + tail;
}

void write_dot_notes(output& out, const link_graph& graph) {
  for (const graph_note note : graph.notes()) {
    const double weight = std::sqrt(static_cast<double>(note.inbound));  // the area, not the width, shows the number
    out << "  n" << note.index << " [label=" << dot_quoted(stem(note.name)) << " tooltip=" << dot_quoted(note.name)
        << " width=" << decimal(0.12 + 0.14 * weight) << " fontsize=" << decimal(8 + 2 * weight)
        << (note.inbound == 0 ? " fillcolor=\"#f2d9a0\"" : "") << "];\n";
  }
}

void write_dot_edges(output& out, const drawing& lines) {
  for (const auto& [ends, count] : lines.edges) {
    out << "  n" << ends.first << " -> n" << ends.second;
    if (count > 1) out << " [tooltip=\"" << count << " links\"]";
    out << ";\n";
  }
  std::map<std::string, std::size_t> numbers;
  for (const auto& [ends, count] : lines.dead_ends) {
    const auto [place, is_new] = numbers.emplace(ends.second, numbers.size());
    if (is_new) {
      out << "  b" << place->second << " [label=" << dot_quoted(ends.second)
          << " shape=plaintext style=solid fontcolor=\"#c0392b\" fontsize=8 fixedsize=false margin=0.02 width=0 "
             "height=0];\n";
    }
    out << "  n" << ends.first << " -> b" << place->second << " [color=\"#c0392b\" style=dashed];\n";
  }
}

void write_dot(output& out, const link_graph& graph, const drawing& lines) {
  out << "// " << counted(graph.notes().size(), "note") << ", " << counted(lines.edges.size(), "edge") << ", "
      << counted(lines.dead_ends.size(), "dead end") << ". Draw it with: sfdp -Tsvg\n"
      << "digraph notes {\n"
      << "  graph [overlap=prism outputorder=edgesfirst];\n"
      << "  node [shape=circle style=filled fillcolor=\"#bcd3ea\" color=\"#5b7fa6\" fontname=\"sans-serif\""
      << " fixedsize=shape];\n"
      << "  edge [color=\"#00000040\" arrowsize=0.4];\n";
  write_dot_notes(out, graph);
  write_dot_edges(out, lines);
  out << "}\n";
}

json json_graph(const link_graph& graph, const drawing& lines, const std::string& directory) {
  const auto name = [&](std::size_t note) { return json_text(graph.notes()[note].name); };
  return json::object({{"format", "memoria graph 1"},
                       {"directory", json_text(directory)},
                       {"notes", json_array(graph.notes(), json_note)},
                       {"edges", json_array(lines.edges,
                                            [&](const auto& edge) {
                                              return json::object({{"from", name(edge.first.first)},
                                                                   {"to", name(edge.first.second)},
                                                                   {"links", edge.second}});
                                            })},
                       {"dead_ends", json_array(lines.dead_ends, [&](const auto& end) {
                          return json::object({{"from", name(end.first.first)},
                                               {"target", json_text(end.first.second)},
                                               {"links", end.second}});
                        })}});
}

int graph(const invocation& call, output& out) {
  const link_graph all = read_notes(call);
  const drawing lines(all);
  if (call.has("--json")) {
    write_json(out, json_graph(all, lines, call.directory()));
  } else {
    write_dot(out, all, lines);
  }
  return exit_clean;
}

constexpr const char* graph_help = R"(
A note is a circle, the larger the more notes link to it; orphans are yellow;
broken and unsafe links are dashed and red. Several links from one note to
another are one edge; links of a note to itself are left out.

Examples
  memoria graph notes | sfdp -Tsvg > notes.svg
  memoria graph notes --json

Exit status: 0, or 2 if it could not run.

--json writes one object: format ("memoria graph 1"), directory, notes (array:
name, inbound, outbound), edges (array: from, to, links, their number),
dead_ends (array: from, target, links).
)";

// ---- The commands ---------------------------------------------------------------------------------------------------

// clang-format off
const std::vector<command>& commands() {
  static const std::vector<command> table = {
      {"check", {"DIR"}, "find broken and unsafe links, and orphans",
       {{"--strict", nullptr, "orphans and ambiguous links are errors, too"},
        {"--anchors", nullptr, "check that headings and ^blocks exist"},
        {"--inbound", nullptr, "show the inbound count of every note"},
        {"--all", nullptr, "show every entry of every list"},
        json_option, resolve_option, code_option, hidden_option},
       check_help, check},
      {"links", {"DIR", "NOTE"}, "show the links of a note, and to it",
       {json_option, resolve_option, code_option, hidden_option},
       links_help, links},
      {"rename", {"DIR", "FROM", "TO"}, "move a note and rewrite every link to it",
       {{"--dry-run", nullptr, "change nothing, only say what would change"},
        json_option, resolve_option, code_option, hidden_option},
       rename_help, rename},
      {"graph", {"DIR"}, "draw the notes, for Graphviz",
       {json_option, resolve_option, code_option, hidden_option},
       graph_help, graph},
  };
  return table;
}
// clang-format on

void write_help(output& out) {
  out << "memoria looks after a directory of Markdown notes that link to each other\n"
         "with [[wikilinks]].\n\n";
  for (const command& c : commands()) {
    const std::string line = usage(c);
    out << "  " << line << std::string(line.size() < 40 ? 40 - line.size() : 1, ' ') << c.summary << "\n";
  }
  out << "\nExamples\n"
         "  memoria check notes                     what is wrong in notes/\n"
         "  memoria links notes fsync               what links to fsync, and what it links to\n"
         "  memoria rename notes fsync durability   give a note another name, everywhere\n"
         "  memoria graph notes | sfdp -Tsvg > notes.svg\n\n"
         "`memoria COMMAND --help` explains a command, its options and what --json writes.\n"
         "`memoria --version` says which version this is. Exit status: 0 fine, 1 something\n"
         "was found, 2 it could not run.\n";
}

void write_help(output& out, const command& c) {
  out << "usage: " << usage(c) << " [OPTIONS]\n\nmemoria " << c.name << ": " << c.summary << ".\n\n";
  for (const option& o : c.options) {
    std::string name = std::string("  ") + o.name + (o.value ? std::string(" ") + o.value : "");
    name.resize(std::max<std::size_t>(name.size() + 2, 24), ' ');
    for (const char* at = o.help; *at != '\0'; ++at) name.append(1, *at).append(*at == '\n' ? 24 : 0, ' ');
    out << name << "\n";
  }
  out << c.more;
}

const command& find_command(const std::string& name) {
  std::vector<std::string> names;
  for (const command& c : commands()) {
    if (name == c.name) return c;
    names.emplace_back(c.name);
  }
  std::error_code ignored;
  if (is_directory(native_path(name), ignored)) throw failure{"which command? For example: memoria check " + name};
  const std::string meant = closest(name, names);
  throw failure{"no such command: " + name +
                (meant.empty() ? "; `memoria --help` lists them" : "; did you mean " + meant + "?")};
}

bool asks_for_help(const std::string& word) { return word == "--help" || word == "-h"; }

int run(const std::vector<std::string>& words, output& out) {
  if (words.empty()) throw failure{"which command? `memoria --help` lists them"};
  if (words[0] == "--version") {
    const int version = MEMORIA_FS_VERSION;
    out << "memoria " << version / 10000 << "." << version / 100 % 100 << "." << version % 100 << "\n";
    return exit_clean;
  }
  if (asks_for_help(words[0]) || words[0] == "help") {
    words.size() > 1 ? write_help(out, find_command(words[1])) : write_help(out);
    return exit_clean;
  }
  const command& c = find_command(words[0]);
  const std::vector<std::string> rest(words.begin() + 1, words.end());
  const auto end_of_options = std::find(rest.begin(), rest.end(), "--");
  if (std::any_of(rest.begin(), end_of_options, asks_for_help)) {
    write_help(out, c);
    return exit_clean;
  }
  return c.run(parse(c, rest), out);
}

}  // namespace

int main(int argc, char** argv) {
  const console_setup setup;
  try {
    output out;
    const int status = run(utf8_arguments(argc, argv), out);
    out.close();
    return status;
  } catch (const failure& f) {
    if (!f.message.empty()) warn(f.message);
  } catch (const std::exception& e) {  // memoria::error says operation, path and reason
    warn(printable(e.what()));
  }
  return exit_failed;
}
