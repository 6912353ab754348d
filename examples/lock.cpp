// [lock] One at a time, between threads and processes. A lock dies with its holder, so none is ever stale.
#include <iostream>
#include <thread>
#include <vector>

#include "memoria_fs.hpp"

int main() {
  int counter = 0;  // stands for what the lock protects
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 1000; ++k) {
        const memoria::file_lock lock("counter.lock");
        ++counter;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::cout << counter << '\n';

  memoria::lock_options shared;
  shared.mode = memoria::lock_mode::shared;
  const memoria::file_lock one("counter.lock", shared), two("counter.lock", shared);
  std::cout << "two readers: " << (one && two) << '\n';

  memoria::lock_options deadline;
  deadline.timeout = std::chrono::milliseconds(10);
  std::error_code ec;
  const memoria::file_lock writer("counter.lock", deadline, ec);
  std::cout << "a writer meanwhile: " << ec.message() << '\n';
}

// Output:
// 4000
// two readers: 1
// a writer meanwhile: lock is held by another process or thread, deadline passed
