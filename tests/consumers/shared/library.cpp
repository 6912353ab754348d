// A shared library that hides its symbols, with its own copy of memoria_fs.
#include <memoria_fs.hpp>

#ifdef MEMORIA_FS_NAMESPACE
namespace copy = MEMORIA_FS_NAMESPACE;
#else
namespace copy = memoria;
#endif

#define EXPORTED extern "C" __attribute__((visibility("default")))

// Nested under the program's update of the same file it may wait, but not for ever.
EXPORTED void library_update(const std::filesystem::path& file, std::error_code& ec) {
  copy::update_options options;
  options.timeout = std::chrono::milliseconds(200);
  copy::update_json(
      file, copy::json::object(), [](copy::json& state) { state["runs"] = state.value("runs", 0) + 1; }, options, ec);
}

EXPORTED void library_lock(const std::filesystem::path& file, std::error_code& ec) {
  copy::lock_options options;
  options.timeout = std::chrono::milliseconds(50);
  copy::file_lock lock(file, options, ec);
}

EXPORTED void library_throw() { copy::load_json("no such state.json"); }
