// What people and programs get to read: standard output with colours, JSON, messages, progress.
#include <algorithm>
#include <cerrno>

#include "tool.hpp"

namespace tool {

void warn(const std::string& message) { std::fprintf(stderr, "memoria: %s\n", message.c_str()); }

namespace {

bool wants_colours() {
  return environment("NO_COLOR").empty() && is_terminal(stdout) && understands_colours();  // https://no-color.org
}

bool is_utf8(std::string_view text) {
  std::error_code ec;
  static_cast<void>(json(text).dump(ec));
  for (std::size_t at = 0; !ec && (at = text.find('\xED', at)) != std::string_view::npos; ++at) {
    if (static_cast<unsigned char>(text[at + 1]) >= 0xA0) return false;  // half a surrogate pair, which json may hold
  }
  return !ec;
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

}  // namespace

output::output() : colours_(wants_colours()) {}

output& output::operator<<(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() && error_ == 0) error_ = errno;
  return *this;
}

output& output::write(style how, std::string_view text) {
  if (!colours_) return *this << text;
  const char* const codes[] = {"\x1b[1m", "\x1b[1;31m", "\x1b[33m", "\x1b[2m"};
  return *this << codes[static_cast<std::size_t>(how)] << text << "\x1b[0m";
}

void output::close() {
  if (std::fclose(stdout) != 0 && error_ == 0) error_ = errno;
  if (error_ == EPIPE) throw failure{""};  // somebody who closed the pipe has seen enough and needs no message
  if (error_ != 0) throw failure{"cannot write to standard output: " + std::generic_category().message(error_)};
}

// Names and links are what strangers wrote.
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

std::string utf8_text(std::string_view text) {
  if (is_utf8(text)) return std::string(text);
  std::string repaired;
  while (!text.empty()) {
    std::size_t length = 1;  // the shortest valid beginning is one character
    while (length <= 4 && !is_utf8(text.substr(0, length))) ++length;
    const bool valid = length <= 4;
    repaired += valid ? text.substr(0, length) : std::string_view("\xEF\xBF\xBD");
    text.remove_prefix(valid ? length : 1);
  }
  return repaired;
}

std::string standard_input() {
  std::string text;
  char piece[65536];
  while (const std::size_t n = std::fread(piece, 1, sizeof piece, stdin)) text.append(piece, n);
  return text;
}

std::string counted(std::size_t n, const std::string& noun) {
  return std::to_string(n) + " " + noun + (n == 1 ? "" : "s");
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates, const char* before,
                         const char* after) {
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
  return found.empty() ? "" : "; did you mean " + std::string(before) + printable(found) + after + "?";
}

progress_line::~progress_line() {
  if (shown_) std::fputs("\r\x1b[K", stderr);
}

void progress_line::operator()() {
  const auto passed = std::chrono::duration_cast<std::chrono::seconds>(clock::now() - start_);
  show(", " + std::to_string(passed.count()) + " s");
}

void progress_line::show(const std::string& how_far) {
  if (!terminal_ || clock::now() < next_) return;
  next_ = clock::now() + std::chrono::milliseconds(100);
  shown_ = true;
  std::fprintf(stderr, "\r%s%s\x1b[K", what_.c_str(), how_far.c_str());
}

}  // namespace tool
