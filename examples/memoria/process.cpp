// Programs that this one starts. Each system has its files for them, its `command_line` and its `child`.
#include <algorithm>
#include <cerrno>
#include <memory>
#include <thread>

#include "tool.hpp"

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
// After windows.h.
#include <fcntl.h>
#include <io.h>
#else
#include <csignal>

#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#endif

namespace tool {
namespace {

using file = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

#ifdef _WIN32

[[noreturn]] void fail(const char* step) {
  throw std::system_error(static_cast<int>(::GetLastError()), std::system_category(), step);
}

file open_file(const wchar_t* name, DWORD access, DWORD disposition, DWORD flags) {
  const DWORD shared = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
  const HANDLE h = ::CreateFileW(name, access, shared, nullptr, disposition, flags, nullptr);
  if (h == INVALID_HANDLE_VALUE) fail("open a file");
  return {::_fdopen(::_open_osfhandle(reinterpret_cast<std::intptr_t>(h), _O_BINARY), "w+b"), std::fclose};
}

file temporary_file() {
  wchar_t directory[MAX_PATH + 1], name[MAX_PATH + 1];
  if (!::GetTempPathW(MAX_PATH, directory) || !::GetTempFileNameW(directory, L"mem", 0, name)) fail("GetTempFileName");
  const DWORD flags = FILE_ATTRIBUTE_TEMPORARY | FILE_FLAG_DELETE_ON_CLOSE;  // nothing is left whoever is killed
  return open_file(name, GENERIC_READ | GENERIC_WRITE, CREATE_ALWAYS, flags);
}

file log_file(const memoria::path& name) { return open_file(name.c_str(), FILE_APPEND_DATA, OPEN_ALWAYS, 0); }

using command_line = std::wstring;

command_line shell(const std::string& line) { return native_path("cmd.exe /d /s /c \"" + line + "\"").native(); }

// As CommandLineToArgvW takes it apart again.
command_line program(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) {
    std::size_t backslashes = 0;
    line += '"';
    for (const char c : word) {
      if (c == '"') line.append(backslashes + 1, '\\');
      backslashes = c == '\\' ? backslashes + 1 : 0;
      line += c;
    }
    line.append(backslashes, '\\') += "\" ";
  }
  return native_path(line).native();
}

class child {
 public:
  child(command_line line, std::FILE* in, std::FILE* out, std::FILE* err, bool detached) {
    const auto handle = [](std::FILE* f) { return reinterpret_cast<HANDLE>(::_get_osfhandle(::_fileno(f))); };
    HANDLE handles[] = {handle(in), handle(out), handle(err)};
    for (HANDLE h : handles) ::SetHandleInformation(h, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT);
    DWORD usable = 0;
    if (!::GetHandleInformation(handles[2], &usable)) handles[2] = handles[1];
    STARTUPINFOEXW info{};
    info.StartupInfo.cb = sizeof info;
    info.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
    info.StartupInfo.hStdInput = handles[0];
    info.StartupInfo.hStdOutput = handles[1];
    info.StartupInfo.hStdError = handles[2];
    // It gets these and no others: a pipe of the agent's that stayed open would keep the agent waiting.
    std::size_t size = 0, different = handles[1] == handles[2] ? 2 : 3;
    ::InitializeProcThreadAttributeList(nullptr, 1, 0, &size);
    std::vector<char> memory(size);
    info.lpAttributeList = reinterpret_cast<LPPROC_THREAD_ATTRIBUTE_LIST>(memory.data());
    ::InitializeProcThreadAttributeList(info.lpAttributeList, 1, 0, &size);
    ::UpdateProcThreadAttribute(info.lpAttributeList, 0, PROC_THREAD_ATTRIBUTE_HANDLE_LIST, handles,
                                different * sizeof(HANDLE), nullptr, nullptr);
    const DWORD flags = EXTENDED_STARTUPINFO_PRESENT | CREATE_SUSPENDED |
                        (detached ? DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP : CREATE_NO_WINDOW);
    PROCESS_INFORMATION started{};
    if (!::CreateProcessW(nullptr, line.data(), nullptr, nullptr, TRUE, flags, nullptr, nullptr, &info.StartupInfo,
                          &started)) {
      fail("CreateProcess");
    }
    process_ = started.hProcess;
    if (!detached) {
      JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits{};
      limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
      ::SetInformationJobObject(job_, JobObjectExtendedLimitInformation, &limits, sizeof limits);
      ::AssignProcessToJobObject(job_, process_);
    }
    ::ResumeThread(started.hThread);
    ::CloseHandle(started.hThread);
  }
  child(const child&) = delete;
  child& operator=(const child&) = delete;
  ~child() { ::CloseHandle(process_), ::CloseHandle(job_); }

  bool ended() { return ::WaitForSingleObject(process_, 0) == WAIT_OBJECT_0; }
  void kill() { ::TerminateJobObject(job_, 1); }
  int status() const {
    DWORD status = 0;
    ::GetExitCodeProcess(process_, &status);
    return static_cast<int>(status);
  }

 private:
  HANDLE job_ = ::CreateJobObjectW(nullptr, nullptr);  // it and all that it starts; they end with us
  HANDLE process_;
};

#else

[[noreturn]] void fail(const char* step) { throw std::system_error(errno, std::generic_category(), step); }

file checked(std::FILE* f, const char* name) {
  if (f == nullptr) fail(name);
  return {f, std::fclose};
}

file temporary_file() { return checked(std::tmpfile(), "temporary file"); }

file log_file(const memoria::path& name) { return checked(std::fopen(name.c_str(), "a"), name.c_str()); }

using command_line = std::vector<std::string>;

command_line shell(const std::string& line) { return {"/bin/sh", "-c", line}; }

command_line program(const std::vector<std::string>& words) { return words; }

volatile std::sig_atomic_t running = 0;  // the process group to take along when we are ended

void end_both(int signal) {
  if (running != 0) ::kill(-static_cast<pid_t>(running), SIGKILL);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

class child {
 public:
  child(command_line line, std::FILE* in, std::FILE* out, std::FILE* err, bool detached) {
    std::vector<char*> argv;
    for (std::string& word : line) argv.push_back(word.data());
    argv.push_back(nullptr);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
      if (std::signal(signal, end_both) == SIG_IGN) std::signal(signal, SIG_IGN);  // nohup
    }
    std::fflush(nullptr);
    id_ = ::fork();
    if (id_ < 0) fail("fork");
    if (id_ > 0) {
      if (detached) return;
      ::setpgid(id_, id_);  // here, too: who knows which of us is first
      running = id_;
      return;
    }
    detached ? ::setsid() : ::setpgid(0, 0);
#ifdef __linux__
    if (!detached) ::prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    std::signal(SIGPIPE, SIG_DFL);  // what is ignored stays ignored in a new program
    ::dup2(::fileno(in), 0), ::dup2(::fileno(out), 1), ::dup2(::fileno(err), 2);
    for (int i = 3; i < 256; ++i) ::close(i);  // a pipe of the agent's that stayed open would keep the agent waiting
    ::execvp(argv[0], argv.data());
    std::perror(argv[0]);
    ::_exit(127);
  }
  child(const child&) = delete;
  child& operator=(const child&) = delete;
  ~child() { running = 0; }

  bool ended() { return ::waitpid(id_, &status_, WNOHANG) != 0; }
  void kill() { ::kill(-id_, SIGKILL), ::waitpid(id_, &status_, 0); }  // with all that it started
  int status() const { return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_); }

 private:
  pid_t id_;
  int status_ = 0;
};

#endif

}  // namespace

outcome run_shell(const std::string& line, std::string_view input, std::chrono::seconds limit,
                  const std::string& what) {
  using std::chrono::milliseconds;
  const file in = temporary_file(), out = temporary_file();
  if (std::fwrite(input.data(), 1, input.size(), in.get()) != input.size() || std::fflush(in.get()) != 0)
    throw std::system_error(errno, std::generic_category(), "write to a temporary file");
  std::rewind(in.get());
  child started(shell(line), in.get(), out.get(), stderr, false);
  outcome result;
  progress_line progress(what + ", second");
  const auto start = std::chrono::steady_clock::now();
  for (milliseconds pause{1}; !started.ended() && !result.timed_out; pause = std::min(pause * 2, milliseconds(64))) {
    std::this_thread::sleep_for(pause);
    const auto passed = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - start);
    progress(static_cast<std::size_t>(passed.count()), static_cast<std::size_t>(limit.count()));
    result.timed_out = passed >= limit;
  }
  if (result.timed_out) started.kill();
  result.status = started.status();
  std::rewind(out.get());
  result.output = read_all(out.get());
  return result;
}

void start_detached(const std::vector<std::string>& words, const memoria::path& log) {
  const file nothing = temporary_file(), out = log_file(log);
  child(program(words), nothing.get(), out.get(), out.get(), true);
}

}  // namespace tool
