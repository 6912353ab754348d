// [errors] Every function comes twice: one throws, one fills a std::error_code.
#include <iostream>

#include "memoria_fs.hpp"

int main() {
  std::error_code ec;
  const std::string text = memoria::read_text("no/such/file", ec);
  std::cout << text.size() << " bytes: " << (ec == std::errc::no_such_file_or_directory ? "not there" : ec.message())
            << '\n';

  try {
    memoria::load_json("no/such/state.json");
  } catch (const memoria::error& e) {  // a std::filesystem::filesystem_error, with more to ask for
    std::cout << e.operation() << " failed on " << e.path1().filename() << '\n';
  }

  // What the system has no word for is a memoria::errc; most of them are also one of the standard's conditions.
  const memoria::file_lock held("lock");
  memoria::lock_options once;
  once.timeout = std::chrono::milliseconds(0);
  const memoria::file_lock second("lock", once, ec);
  std::cout << ec.message() << '\n' << (ec == std::errc::timed_out && ec == memoria::errc::lock_timeout) << '\n';
}

// Output:
// 0 bytes: not there
// load_json failed on "state.json"
// lock is held by another process or thread, deadline passed
// 1
