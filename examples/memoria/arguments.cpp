// The command line of one command.
#include <charconv>

#include "tool.hpp"

namespace tool {

std::string usage(const command& c) {
  std::string line = std::string("memoria ") + c.name;
  for (const char* argument : c.arguments) line += std::string(" ") + argument;
  return line;
}

void misused(const command& c, const std::string& message) {
  throw failure{message + "\nusage: " + usage(c) + " [OPTIONS]\n`memoria " + c.name + " --help` says more"};
}

namespace {

const option& find_option(const command& c, const std::string& name) {
  std::vector<std::string> names;
  for (const option& o : c.options) {
    if (name == o.name) return o;
    names.push_back(o.name);
  }
  const std::string meant = closest(name, names);
  misused(c, "no such option: " + name + (meant.empty() ? "" : "; did you mean " + meant + "?"));
}

}  // namespace

// Options may stand anywhere; behind "--" everything is an argument.
invocation parse(const command& c, const std::vector<std::string>& words) {
  invocation call;
  call.what = &c;
  bool only_arguments = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (only_arguments || word.size() < 2 || word[0] != '-' || (word[1] >= '0' && word[1] <= '9')) {
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
  for (std::size_t i = 0; i < c.arguments.size() && c.arguments[i][0] != '['; ++i) {
    if (i == call.arguments.size()) misused(c, std::string("missing: ") + c.arguments[i]);
    if (call.arguments[i].empty()) misused(c, std::string(c.arguments[i]) + " is empty");  // a forgotten variable
  }
  if (call.arguments.size() > c.arguments.size()) misused(c, "one argument too many: " + call.arguments.back());
  return call;
}

long long invocation::number(const char* name, long long fallback) const {
  if (!has(name)) return fallback;
  const std::string text = get(name);
  long long value = -1;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ptr != text.data() + text.size() || read.ec != std::errc() || value < 0 || value > 1000000) {
    misused(*what, std::string(name) + " is a number of seconds, not \"" + text + "\"");
  }
  return value;
}

}  // namespace tool
