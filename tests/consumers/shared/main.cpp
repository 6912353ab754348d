// A program that uses memoria_fs itself, and a shared library that does so, too.
#include <memoria_fs.hpp>

#include <iostream>

extern "C" void library_update(const std::filesystem::path& file, std::error_code& ec);
extern "C" void library_lock(const std::filesystem::path& file, std::error_code& ec);
extern "C" void library_throw();

static int failed = 0;

static void expect(bool holds, const char* what) {
  if (holds) return;
  std::cerr << "not so: " << what << '\n';
  ++failed;
}

int main() {
  std::error_code ec, nested;
  const auto count = [](memoria::json& state) { state["runs"] = state.value("runs", 0) + 1; };
  for (int i = 0; i < 3; ++i) {
    memoria::update_json("state.json", memoria::json::object(), count);
    library_update("state.json", ec);
    expect(!ec, "the library updates the program's state");
  }
  memoria::update_json("state.json", memoria::json::object(), [&](memoria::json& state) {
    library_update("state.json", nested);
    count(state);
  });
  expect(nested == memoria::errc::lock_nested || nested == memoria::errc::lock_timeout, "an update inside an update");
  expect(memoria::load_json("state.json")["runs"].get<int>() == 7, "each update once");

  {
    memoria::file_lock lock("lock");
    library_lock("lock", ec);
    expect(ec == memoria::errc::lock_timeout, "the program's lock excludes the library, which says so");
  }
  library_lock("lock", ec);
  expect(!ec, "the lock is free again");

  try {
    library_throw();
    expect(false, "an exception");
#ifdef SAME_NAME
  } catch (const memoria::error& e) {
#else
  } catch (const std::filesystem::filesystem_error& e) {
#endif
    expect(e.code() == std::errc::no_such_file_or_directory, "its code");
  }
  return failed;
}
