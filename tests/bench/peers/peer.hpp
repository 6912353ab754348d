// What the peers share: read "OPERATION ARGUMENT COUNT" from standard input, do it COUNT times, print the nanoseconds it took,
// or "-" for what this peer cannot do. run.py lets them take turns.
#ifndef MEMORIA_FS_BENCH_PEER_HPP
#define MEMORIA_FS_BENCH_PEER_HPP

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

// make(operation, argument): what is to be repeated, as a callable that is empty if this peer cannot; set-up is not timed.
template <class Make>
int serve(Make&& make) {
  std::string operation, argument;
  for (long count; std::cin >> operation >> argument >> count;) {
    auto work = make(operation, argument);
    if (!work) {
      std::printf("-\n");
    } else {
      const auto begin = std::chrono::steady_clock::now();
      for (long i = 0; i < count; ++i) work();
      const auto spent = std::chrono::steady_clock::now() - begin;
      std::printf("%lld\n", static_cast<long long>(std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count()));
    }
    std::fflush(stdout);
  }
  return 0;
}

inline void check(bool ok, const char* what) {
  if (ok) return;
  std::perror(what);
  std::exit(1);
}

#endif
