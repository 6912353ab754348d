// What the peers share: read "OPERATION ARGUMENT COUNT" from standard input, do it COUNT times, print the nanoseconds that
// passed and those of processor time, or "-" for what this peer cannot do. run.py lets them take turns.
#ifndef MEMORIA_FS_BENCH_PEER_HPP
#define MEMORIA_FS_BENCH_PEER_HPP

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <string>

inline long long nanoseconds(clockid_t clock) {
  timespec t = {};
  clock_gettime(clock, &t);
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

// make(operation, argument): what is to be repeated, as a callable that is empty if this peer cannot; set-up is not timed.
template <class Make>
int serve(Make&& make) {
  std::string operation, argument;
  for (long count; std::cin >> operation >> argument >> count;) {
    auto work = make(operation, argument);
    if (!work) {
      std::printf("-\n");
    } else {
      const long long begin = nanoseconds(CLOCK_MONOTONIC), used = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
      for (long i = 0; i < count; ++i) work();
      std::printf("%lld %lld\n", nanoseconds(CLOCK_MONOTONIC) - begin, nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - used);
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
