// Programs that this one starts.
#include "tool.hpp"

#include <system_error>
#include <thread>
#include <utility>

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <cerrno>
#include <csignal>
#include <cstdio>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#endif

namespace tool {

namespace {

using clock = std::chrono::steady_clock;

#ifdef _WIN32

[[noreturn]] void fail(const char* step) {
  throw std::system_error(static_cast<int>(::GetLastError()), std::system_category(), step);
}

class handle {
 public:
  handle(HANDLE h, const char* step) : h_(h) {
    if (h == nullptr || h == INVALID_HANDLE_VALUE) fail(step);
  }
  handle(const handle&) = delete;
  handle& operator=(const handle&) = delete;
  ~handle() { ::CloseHandle(h_); }
  HANDLE get() const { return h_; }

 private:
  HANDLE h_;
};

SECURITY_ATTRIBUTES inheritable = {sizeof(SECURITY_ATTRIBUTES), nullptr, TRUE};

HANDLE temporary_file() {  // gone when the last handle is closed, whoever is killed
  wchar_t directory[MAX_PATH + 1], name[MAX_PATH + 1];
  if (::GetTempPathW(MAX_PATH, directory) == 0 || ::GetTempFileNameW(directory, L"mem", 0, name) == 0)
    fail("GetTempFileName");
  return ::CreateFileW(name, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                       &inheritable, CREATE_ALWAYS, FILE_ATTRIBUTE_TEMPORARY | FILE_FLAG_DELETE_ON_CLOSE, nullptr);
}

// Hands on these handles and no others: a pipe of the agent's that stayed open would keep the agent waiting.
PROCESS_INFORMATION start(std::wstring line, HANDLE in, HANDLE out, HANDLE err, DWORD flags) {
  HANDLE handles[] = {in, out, err};
  std::size_t count = err == out ? 2 : 3, size = 0;
  ::InitializeProcThreadAttributeList(nullptr, 1, 0, &size);
  std::vector<char> memory(size);
  STARTUPINFOEXW info{};
  info.lpAttributeList = reinterpret_cast<LPPROC_THREAD_ATTRIBUTE_LIST>(memory.data());
  ::InitializeProcThreadAttributeList(info.lpAttributeList, 1, 0, &size);
  ::UpdateProcThreadAttribute(info.lpAttributeList, 0, PROC_THREAD_ATTRIBUTE_HANDLE_LIST, handles,
                              count * sizeof(HANDLE), nullptr, nullptr);
  info.StartupInfo.cb = sizeof info;
  info.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
  info.StartupInfo.hStdInput = in, info.StartupInfo.hStdOutput = out, info.StartupInfo.hStdError = err;
  PROCESS_INFORMATION child{};
  flags |= EXTENDED_STARTUPINFO_PRESENT;
  const BOOL started = ::CreateProcessW(nullptr, line.data(), nullptr, nullptr, TRUE, flags, nullptr, nullptr,
                                        &info.StartupInfo, &child);
  const DWORD error = ::GetLastError();
  ::DeleteProcThreadAttributeList(info.lpAttributeList);
  ::SetLastError(error);
  if (!started) fail("CreateProcess");
  return child;
}

// As CommandLineToArgvW takes it apart again.
std::string quoted(const std::string& argument) {
  std::string out = "\"";
  std::size_t backslashes = 0;
  for (const char c : argument) {
    if (c == '"') out.append(backslashes + 1, '\\');
    backslashes = c == '\\' ? backslashes + 1 : 0;
    out += c;
  }
  return out.append(backslashes, '\\') + '"';
}

#else

const char* program = "memoria";

[[noreturn]] void fail(const char* step, int error = errno) {
  throw std::system_error(error, std::generic_category(), step);
}

class descriptor {
 public:
  descriptor(int from, const char* step) {
    if (from < 0) fail(step);
    value_ = ::fcntl(from, F_DUPFD_CLOEXEC, 3);  // not one of the three that the child gets new
    const int error = errno;
    ::close(from);
    if (value_ < 0) fail(step, error);
  }
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  ~descriptor() { close(); }
  int get() const { return value_; }
  void close() {
    if (value_ >= 0) ::close(std::exchange(value_, -1));
  }

 private:
  int value_;
};

int temporary_file() {  // without a name from the beginning, so that nothing is left whoever is killed
  std::FILE* file = std::tmpfile();
  if (file == nullptr) fail("tmpfile");
  const int copy = ::dup(::fileno(file));
  std::fclose(file);
  return copy;
}

[[noreturn]] void become(const std::vector<std::string>& words, int in, int out, int err, bool detached, int report) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  detached ? ::setsid() : ::setpgid(0, 0);
#ifdef __linux__
  if (!detached) ::prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
  std::signal(SIGPIPE, SIG_DFL);  // what is ignored stays ignored in a new program
  if (::dup2(in, 0) >= 0 && ::dup2(out, 1) >= 0 && ::dup2(err, 2) >= 0) {
    // A pipe of the agent's that stayed open would keep the agent waiting.
    for (int i = 3; detached && i < 256; ++i) i == report ? 0 : ::close(i);
    ::execvp(argv[0], argv.data());
  }
  const int error = errno;
  static_cast<void>(::write(report, &error, sizeof error) < 0);
  ::_exit(127);
}

pid_t start(const std::vector<std::string>& words, int in, int out, int err, bool detached) {
  int ends[2];
  if (::pipe(ends) != 0) fail("pipe");
  descriptor reading(ends[0], "pipe"), writing(ends[1], "pipe");
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) fail("fork");
  if (child == 0) become(words, in, out, err, detached, writing.get());
  writing.close();
  int error = 0;  // stays 0 when the pipe is closed by a successful exec
  if (::read(reading.get(), &error, sizeof error) > 0) {
    ::waitpid(child, nullptr, 0);
    fail(words[0].c_str(), error);
  }
  return child;
}

volatile std::sig_atomic_t running = 0;  // the process group to take along when we are ended

void end_both(int signal) {
  ::kill(-static_cast<pid_t>(running), SIGKILL);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

#endif

// Waits until over() or the time is up; false: it is up.
template <class Over>
bool wait_until(Over&& over, std::chrono::seconds limit, progress_line& progress) {
  const clock::time_point end = clock::now() + limit;
  for (std::chrono::milliseconds pause{1}; !over(); pause = pause < std::chrono::milliseconds(50) ? pause * 2 : pause) {
    if (clock::now() >= end) return false;
    std::this_thread::sleep_for(pause);
    progress();
  }
  return true;
}

}  // namespace

#ifdef _WIN32

void remember_program(const char*) {}

outcome run_shell(const std::string& line, std::string_view input, std::chrono::seconds limit,
                  progress_line& progress) {
  const handle in(temporary_file(), "temporary file"), out(temporary_file(), "temporary file");
  DWORD moved = 0;
  if (!::WriteFile(in.get(), input.data(), static_cast<DWORD>(input.size()), &moved, nullptr)) fail("WriteFile");
  ::SetFilePointer(in.get(), 0, nullptr, FILE_BEGIN);
  HANDLE errors = ::GetStdHandle(STD_ERROR_HANDLE);
  if (!::SetHandleInformation(errors, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT)) errors = out.get();

  const handle job(::CreateJobObjectW(nullptr, nullptr), "CreateJobObject");  // all that it starts, and ends with us
  JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits{};
  limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
  ::SetInformationJobObject(job.get(), JobObjectExtendedLimitInformation, &limits, sizeof limits);
  const PROCESS_INFORMATION child = start(L"cmd.exe /d /s /c \"" + native_path(line).native() + L"\"", in.get(),
                                          out.get(), errors, CREATE_SUSPENDED | CREATE_NO_WINDOW);
  const handle process(child.hProcess, "CreateProcess"), thread(child.hThread, "CreateProcess");
  ::AssignProcessToJobObject(job.get(), process.get());
  ::ResumeThread(thread.get());

  outcome result;
  const auto over = [&] { return ::WaitForSingleObject(process.get(), 0) == WAIT_OBJECT_0; };
  result.timed_out = !wait_until(over, limit, progress);
  if (result.timed_out) ::TerminateJobObject(job.get(), 1);
  DWORD status = 0;
  ::GetExitCodeProcess(process.get(), &status);
  result.status = static_cast<int>(status);
  ::SetFilePointer(out.get(), 0, nullptr, FILE_BEGIN);
  char piece[65536];
  while (::ReadFile(out.get(), piece, sizeof piece, &moved, nullptr) && moved > 0) result.output.append(piece, moved);
  return result;
}

void start_detached(const std::vector<std::string>& arguments, const memoria::path& log) {
  const DWORD shared = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
  const handle nothing(::CreateFileW(L"NUL", GENERIC_READ, shared, &inheritable, OPEN_EXISTING, 0, nullptr), "NUL");
  const handle out(::CreateFileW(log.c_str(), FILE_APPEND_DATA, shared, &inheritable, OPEN_ALWAYS, 0, nullptr),
                   "open the log");
  wchar_t name[32768];
  ::GetModuleFileNameW(nullptr, name, 32768);
  std::wstring line = L"\"" + std::wstring(name) + L"\"";
  for (const std::string& argument : arguments) line += L" " + native_path(quoted(argument)).native();
  const PROCESS_INFORMATION child =
      start(line, nothing.get(), out.get(), out.get(), DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP);
  ::CloseHandle(child.hThread);
  ::CloseHandle(child.hProcess);
}

#else

void remember_program(const char* argv0) { program = argv0; }

outcome run_shell(const std::string& line, std::string_view input, std::chrono::seconds limit,
                  progress_line& progress) {
  const descriptor in(temporary_file(), "temporary file"), out(temporary_file(), "temporary file");
  for (std::string_view rest = input; !rest.empty();) {
    const ssize_t n = ::write(in.get(), rest.data(), rest.size());
    if (n < 0) fail("write to a temporary file");
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  ::lseek(in.get(), 0, SEEK_SET);
  const pid_t child = start({"/bin/sh", "-c", line}, in.get(), out.get(), 2, false);
  running = child;
  void (*before[3])(int);
  const int signals[] = {SIGINT, SIGTERM, SIGHUP};
  for (std::size_t i = 0; i < 3; ++i) {
    before[i] = std::signal(signals[i], end_both);
    if (before[i] == SIG_IGN) std::signal(signals[i], SIG_IGN);  // nohup
  }

  outcome result;
  int status = 0;
  const auto over = [&] { return ::waitpid(child, &status, WNOHANG) != 0; };
  result.timed_out = !wait_until(over, limit, progress);
  if (result.timed_out) {
    ::kill(-child, SIGKILL);
    ::waitpid(child, &status, 0);
  }
  for (std::size_t i = 0; i < 3; ++i) std::signal(signals[i], before[i]);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  ::lseek(out.get(), 0, SEEK_SET);
  char piece[65536];
  for (ssize_t n; (n = ::read(out.get(), piece, sizeof piece)) > 0;)
    result.output.append(piece, static_cast<std::size_t>(n));
  return result;
}

void start_detached(const std::vector<std::string>& arguments, const memoria::path& log) {
  const descriptor nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC), "open /dev/null");
  const descriptor out(::open(log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666), log.c_str());
  std::vector<std::string> words = {program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  start(words, nothing.get(), out.get(), out.get(), true);
}

#endif

}  // namespace tool
