// What people and programs get to read: standard output with colours, messages, progress.
#include <algorithm>
#include <charconv>

#include "tool.hpp"

namespace tool {

namespace {

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

void warn(const std::string& message) { std::fprintf(stderr, "memoria: %s\n", message.c_str()); }

std::string read_all(std::FILE* stream) {
  std::string text;
  char piece[65536];
  while (const std::size_t n = std::fread(piece, 1, sizeof piece, stream)) text.append(piece, n);
  return text;
}

// Names and links are what strangers wrote.
std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const unsigned byte = static_cast<unsigned char>(text[i]);
    const bool c1 = byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    char escaped[5];
    if (byte < 0x20 || byte == 0x7F || c1) {
      std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
      out += escaped;
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

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n") == std::string_view::npos; }

std::optional<int> number_in(std::string_view text) {
  int value = -1;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool all = read.ec == std::errc() && read.ptr == text.data() + text.size();
  return all && value >= 0 && value <= 1000000 ? std::optional(value) : std::nullopt;
}

std::string counted(std::size_t n, const std::string& noun) {
  return std::to_string(n) + " " + noun + (n == 1 ? "" : "s");
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates, const char* before,
                         const char* after) {
  std::size_t best = std::min<std::size_t>(2, (word.size() + 1) / 3) + 1;  // what is found has to be better
  std::string found;
  for (const std::string& candidate : candidates) {
    const auto [shorter, longer] = std::minmax({word.size(), candidate.size()});
    if (longer - shorter >= best) continue;
    const std::size_t d = distance(word, candidate);
    if (d < best) best = d, found = candidate;
  }
  return found.empty() ? "" : "; did you mean " + std::string(before) + printable(found) + after + "?";
}

std::string styled(style how, const std::string& text) {
  static const bool colours = wants_colours();
  const char* const codes[] = {"\x1b[1m", "\x1b[1;31m", "\x1b[33m", "\x1b[2m"};
  return colours ? codes[static_cast<std::size_t>(how)] + text + "\x1b[0m" : text;
}

progress_line::~progress_line() {
  if (shown_) std::fputs("\r\x1b[K", stderr);
}

void progress_line::operator()(std::size_t done, std::size_t total) {
  const auto now = std::chrono::steady_clock::now();
  if (!terminal_ || now < next_) return;
  next_ = now + std::chrono::milliseconds(100);
  shown_ = true;
  std::fprintf(stderr, "\r%s %zu of %zu\x1b[K", what_.c_str(), done, total);
}

}  // namespace tool
