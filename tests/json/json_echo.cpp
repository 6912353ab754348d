// The C++ side of differential.py: reads texts from standard input and writes what memoria::json makes of them.
//
// Asked:     MODE LENGTH\n, then LENGTH bytes. MODE is strict or python, then 0 (one line) or 2 (indent 2), then u or a (ensure_ascii)
// Answered:  ok LENGTH\n, then LENGTH bytes, or error LENGTH\n, then the message
#include <cstdio>
#include <string>

#include "memoria_fs.hpp"

#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif

int main() {
#ifdef _WIN32
  _setmode(_fileno(stdin), _O_BINARY);
  _setmode(_fileno(stdout), _O_BINARY);
#endif
  char mode[16];
  unsigned long length = 0;
  while (std::scanf("%15s %lu", mode, &length) == 2) {
    std::getchar();
    std::string text(length, '\0');
    if (std::fread(&text[0], 1, length, stdin) != length) return 2;
    const bool python = mode[0] == 'p';
    const memoria::json_dialect dialect = python ? memoria::json_dialect::python : memoria::json_dialect::strict;
    memoria::json_problem problem;
    const memoria::json value = memoria::json::parse(text, {dialect, 100000}, problem);
    std::error_code ec;
    std::string answer =
        problem ? problem.message() : value.dump({mode[6] == '2' ? 2 : -1, mode[7] == 'a', dialect}, ec);
    const bool failed = problem || ec;
    if (ec) answer = ec.message();
    std::printf("%s %lu\n", failed ? "error" : "ok", static_cast<unsigned long>(answer.size()));
    std::fwrite(answer.data(), 1, answer.size(), stdout);
    std::fflush(stdout);
  }
  return 0;
}
