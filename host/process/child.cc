#include "process/child.h"

#include <berth/spawn.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstring>

namespace berth::process {
namespace {

uint64_t nanoseconds_of(const timeval& time) {
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000U +
         static_cast<uint64_t>(time.tv_usec) * 1'000U;
}

std::string signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name == nullptr ? "signal " + std::to_string(signal) : std::string("SIG") + name;
}

}  // namespace

Result<Child> Child::spawn(const std::vector<std::string>& words, UniqueFd link) {
  SpawnSettings settings;
  ::posix_spawn_file_actions_adddup2(&settings.actions, link.get(), kLinkFd);
  settings.begin_afresh(SpawnSettings::Group::kOwn);
  const std::vector<char*> arguments = pointers(words);
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, words.front().c_str(), &settings.actions,
                                  &settings.attributes, arguments.data(), environ);
  if (error != 0) return errno_status(error, "start " + words.front());
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) {
    const int reason = errno;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return errno_status(reason, "watch the process of " + words.front());
  }
  return Child(pid, std::move(pidfd));
}

void Child::kill() const { ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0); }

std::optional<std::string> Child::ending(std::chrono::milliseconds patience) const {
  pollfd wait{pidfd_.get(), POLLIN, 0};
  int ready = 0;
  do {
    ready = ::poll(&wait, 1, static_cast<int>(patience.count()));
  } while (ready < 0 && errno == EINTR);
  if (ready <= 0) return std::nullopt;
  siginfo_t info{};
  if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) != 0) {
    return "ended";
  }
  if (info.si_code == CLD_EXITED) return "ended with exit code " + std::to_string(info.si_status);
  return "ended by " + signal_name(info.si_status);
}

Usage Child::usage() const {
  Usage usage;
  const std::string folder = "/proc/" + std::to_string(pid_);
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  if (FILE* file = std::fopen((folder + "/statm").c_str(), "re"); file != nullptr) {
    unsigned long size = 0, resident = 0, shared = 0;
    if (std::fscanf(file, "%lu %lu %lu", &size, &resident, &shared) == 3) {
      usage.resident_bytes = resident * page;
      usage.own_bytes = resident > shared ? (resident - shared) * page : 0;
    }
    std::fclose(file);
  }
  if (FILE* file = std::fopen((folder + "/stat").c_str(), "re"); file != nullptr) {
    char line[1024] = {};
    unsigned long user = 0, system = 0;
    // The name, in parentheses, may hold anything; fields 14 and 15 are counted after it.
    const char* after =
        std::fgets(line, sizeof line, file) == nullptr ? nullptr : std::strrchr(line, ')');
    if (after != nullptr &&
        std::sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                    &system) == 2) {
      const auto hertz = static_cast<uint64_t>(::sysconf(_SC_CLK_TCK));
      usage.cpu_nanoseconds = (user + system) * (1'000'000'000U / hertz);
    }
    std::fclose(file);
  }
  return usage;
}

uint64_t Child::reap() {
  int status = 0;
  rusage used{};
  while (::wait4(pid_, &status, 0, &used) < 0 && errno == EINTR) {
  }
  return nanoseconds_of(used.ru_utime) + nanoseconds_of(used.ru_stime);
}

}  // namespace berth::process
