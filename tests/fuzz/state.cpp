// libFuzzer target: a state file of any bytes. load_json_with_recovery gives the value or the fallback, what is corrupt is
// set aside byte for byte and never lost, update_json goes on from there, and what was written is read again.
#include <memoria_fs.hpp>

#include "common.hpp"

namespace {

namespace fs = std::filesystem;
using memoria::json;
using memoria::path;

const path& place() {
  static const path dir = place_for("state");
  return dir;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  // The first byte says where the rest is cut: the state, and its previous version.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = size == 0 ? 0 : 1 + data[0] % size;
  const std::string_view current = size == 0 ? text : text.substr(1, cut - 1), previous = text.substr(cut);
  fs::remove_all(place());
  fs::create_directories(place());
  const path file = place() / "s.json";
  put(file, current);
  if (!previous.empty()) put(place() / "s.json.gen-1", previous);

  std::error_code ec;
  memoria::recovery_options options;
  memoria::recovery_report report;
  bool reported = false;
  options.reporter = [&](const memoria::recovery_report& r) { reported = true, report = r; };
  const json strict = memoria::load_json(file, ec);
  const bool corrupt = ec == memoria::errc::corrupt_json;
  require(!ec || corrupt || ec == memoria::errc::json_limit, "load_json reads it, or says why not");
  require(memoria::read_text(file) == current, "load_json moves nothing");

  const json value = memoria::load_json_with_recovery(file, json("fallback"), options, ec);
  if (corrupt && !ec) {
    require(reported, "recovery is never silent");
    require(memoria::read_text(report.backup) == current, "what is corrupt is set aside, byte for byte");
    if (report.used == memoria::recovery_report::source::fallback) {
      require(value == json("fallback") && !fs::exists(file), "the fallback, and no file");
    } else {
      require(memoria::read_text(file) == previous, "the good version is the current one");
    }
  } else if (!ec) {
    require(!reported && memoria::read_text(file) == current, "what is good stays");
    require(value.dump(0, ec) == strict.dump(0, ec), "both read the same");
  }
  ec.clear();
  const json updated = memoria::update_json(
      file, json(), [](json& s) { s = json::array({s}); }, ec);
  if (!ec) {
    std::error_code again;
    const json read = memoria::load_json(file, again);
    require(!again && read.dump(2, again) == updated.dump(2, again), "what was written is read again");
  }
  return 0;
}

struct cleaner {
  ~cleaner() {
    std::error_code ignored;
    fs::remove_all(place(), ignored);
  }
};
static const cleaner at_exit;
