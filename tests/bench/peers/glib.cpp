// GLib's g_file_set_contents_full, with its most careful flags.
#include <glib.h>

#include <functional>

#include "peer.hpp"

int main(int, char** argv) {
  std::string content;
  const std::string file = std::string(argv[1]) + "/replaced";
  return serve([&](const std::string& operation, const std::string& argument) -> std::function<void()> {
    if (operation != "replace") return {};
    content.assign(static_cast<std::size_t>(std::atoll(argument.c_str())), 'x');
    return [&] {
      const auto flags = static_cast<GFileSetContentsFlags>(G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE);
      check(g_file_set_contents_full(file.c_str(), content.data(), static_cast<gssize>(content.size()), flags, 0666, nullptr) != 0,
            "g_file_set_contents_full");
    };
  });
}
