// memoria_fs, and the least that can be done with the same promise: bare system calls.
//   memoria_and_bare DIR WHO      WHO: memoria or bare; operations as in peer.hpp, on files in DIR (or the vault that is named)
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <functional>

#include "memoria_fs.hpp"
#include "peer.hpp"

namespace {

using memoria::json;
using memoria::path;

void bare_replace(const path& directory, const char* name, const std::string& content) {
  const int d = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const int f = openat(d, ".bare.tmp", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  check(f >= 0, "open");
  for (std::size_t done = 0; done < content.size();) {
    const ssize_t n = write(f, content.data() + done, content.size() - done);
    check(n > 0, "write");
    done += static_cast<std::size_t>(n);
  }
  check(fsync(f) == 0, "fsync");
  close(f);
  check(renameat(d, ".bare.tmp", d, name) == 0, "rename");
  check(fsync(d) == 0, "fsync directory");
  close(d);
}

void bare_append(const path& log, const std::string& entry) {
  const int f = open(log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  check(f >= 0 && flock(f, LOCK_EX) == 0, "flock");
  check(write(f, entry.data(), entry.size()) == static_cast<ssize_t>(entry.size()), "write");
  flock(f, LOCK_UN);
  check(fdatasync(f) == 0, "fdatasync");
  close(f);
}

void in_processes(int processes, const std::function<void()>& work) {
  for (int i = 0; i < processes; ++i) {
    if (fork() == 0) {
      work();
      _exit(0);
    }
  }
  for (int i = 0; i < processes; ++i) {
    int status = 0;
    wait(&status);
    check(status == 0, "worker");
  }
}

std::size_t bare_read_all(int directory, std::string& buffer) {
  std::size_t bytes = 0;
  DIR* const stream = fdopendir(directory);
  while (const dirent* entry = readdir(stream)) {
    const std::size_t length = std::strlen(entry->d_name);
    if (entry->d_name[0] == '.') continue;
    if (entry->d_type == DT_DIR) {
      bytes += bare_read_all(openat(directory, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), buffer);
    } else if (length > 3 && std::strcmp(entry->d_name + length - 3, ".md") == 0) {
      const int file = openat(directory, entry->d_name, O_RDONLY | O_CLOEXEC);
      for (ssize_t n; (n = read(file, buffer.data(), buffer.size())) > 0;) bytes += static_cast<std::size_t>(n);
      close(file);
    }
  }
  closedir(stream);
  return bytes;
}

std::size_t sink = 0;

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: memoria_and_bare DIR memoria|bare\n"), 2;
  const path directory = argv[1];
  const bool bare = argv[2] == std::string("bare");
  std::string content, buffer(1 << 20, ' ');
  json big;
  path vault;
  const int result = serve([&](const std::string& operation, const std::string& argument) -> std::function<void()> {
    const auto number = [&] { return static_cast<std::size_t>(std::atoll(argument.c_str())); };
    if (operation == "replace") {
      content.assign(number(), 'x');
      if (bare) return [&] { bare_replace(directory, "replaced", content); };
      return [&] { memoria::atomic_write_text(directory / "replaced", content); };
    }
    if (operation == "stream" && !bare) {
      content.assign(1 << 16, 'x');
      const std::size_t blocks = number() >> 16;
      return [&, blocks] {
        memoria::atomic_file file(directory / "streamed");
        for (std::size_t i = 0; i < blocks; ++i) file.write(content);
        file.commit();
      };
    }
    if (operation == "append") {  // by so many processes at once, 50 entries each
      const int processes = std::atoi(argument.c_str());
      return [&, processes] {
        in_processes(processes, [&] {
          const std::string entry(300, 'e');
          for (int i = 0; i < 50; ++i) bare ? bare_append(directory / "log", entry) : memoria::locked_append_text(directory / "log", entry);
        });
      };
    }
    if (operation == "files") {  // so many files of 4 KiB: singles here
      content.assign(4096, 'x');
      const std::size_t files = number();
      if (bare) return [&, files] { for (std::size_t i = 0; i < files; ++i) bare_replace(directory, ("f" + std::to_string(i)).c_str(), content); };
      return [&, files] { for (std::size_t i = 0; i < files; ++i) memoria::atomic_write_text(directory / ("f" + std::to_string(i)), content); };
    }
    if (operation == "batch" && !bare) {
      content.assign(4096, 'x');
      const std::size_t files = number();
      return [&, files] {
        memoria::write_batch batch;
        for (std::size_t i = 0; i < files; ++i) batch.add(directory / ("f" + std::to_string(i)), content);
        batch.commit();
      };
    }
    if (operation == "update") {  // a state of so many keys; the bare side only replaces a text of that length
      const path file = directory / ("state-" + argument + ".json");
      json state = json::object();
      for (std::size_t i = 0; i < number(); ++i) state["key-" + std::to_string(i)] = "a value " + std::to_string(i * 7919);
      content = state.dump(2);
      if (bare) return [&] { bare_replace(directory, "replaced", content); };
      memoria::save_json(file, state);
      return [file] { memoria::update_json(file, nullptr, [](json& j) { j["key-7"] = "changed"; }); };
    }
    if (operation == "parse" && !bare) {
      content = "{";
      for (std::size_t i = 0; i < number(); ++i) content += (i ? ",\"key-" : "\"key-") + std::to_string(i * 7919 % 1000003) + "\":" + std::to_string(i);
      content += "}";
      return [&] { sink += json::parse(content).size(); };
    }
    if (operation == "vault") {
      vault = argument;
      if (bare) return [&] { sink += bare_read_all(open(vault.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), buffer); };
      return [&] {
        memoria::graph_options options;
        options.include_code = true;
        sink += memoria::link_graph(vault, options).links().size();
      };
    }
    if (operation == "guard") {  // of a note that is there
      vault = argument;
      if (bare) return [&] { sink += std::filesystem::weakly_canonical(vault / "folder/note.md").native().size(); };
      return [&] { sink += memoria::safe_article_path("folder/note", vault).has_value(); };
    }
#ifdef __linux__
    if (operation == "exists") {  // through an open directory that cannot be led outside; bare: openat2 with RESOLVE_BENEATH
      if (bare) {
        const int d = open(argument.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return [d] {
          struct {
            std::uint64_t flags, mode, resolve;
          } how = {O_PATH | O_CLOEXEC, 0, 0x08 | 0x02};
          const long opened = syscall(437, d, "folder/note.md", &how, sizeof how);
          check(opened >= 0, "openat2");
          close(static_cast<int>(opened));
        };
      }
      auto inside = std::make_shared<memoria::confined_dir>(argument);
      return [inside] { sink += inside->exists("folder/note.md"); };
    }
#endif
    return {};
  });
  return sink == 1 ? 3 : result;
}
