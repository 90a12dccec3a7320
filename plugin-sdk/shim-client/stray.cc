#include <berth/fd.h>
#include <berth/shim_client/stray.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <vector>

namespace berth::shim_client {

namespace {

// Also after an upgrade has replaced the program.
bool runs(const std::filesystem::path& process, const std::string& program) {
  std::error_code error;
  std::string running = std::filesystem::read_symlink(process / "exe", error).string();
  constexpr std::string_view kReplaced = " (deleted)";
  if (running.ends_with(kReplaced)) running.resize(running.size() - kReplaced.size());
  return !running.empty() && running == std::filesystem::weakly_canonical(program, error).string();
}

}  // namespace

size_t kill_processes_in(const std::string& bundle, const std::string& program) {
  namespace fs = std::filesystem;
  constexpr int kEndMilliseconds = 1000;
  std::vector<UniqueFd> killed;
  std::error_code error;
  for (fs::directory_iterator entry("/proc", error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return std::isdigit(c) != 0; })) {
      continue;
    }
    const auto pid = static_cast<pid_t>(std::stol(name));
    if (pid == ::getpid()) continue;
    std::error_code gone;
    const auto is_there = [&] {
      return fs::read_symlink(entry->path() / "cwd", gone) == bundle &&
             (program.empty() || runs(entry->path(), program));
    };
    if (!is_there()) continue;
    // Asked again with the process held: its number may have gone to another one.
    UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!process || !is_there()) continue;
    if (::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0) == 0) {
      killed.push_back(std::move(process));
    }
  }
  for (const UniqueFd& process : killed) {
    pollfd entry{process.get(), POLLIN, 0};
    ::poll(&entry, 1, kEndMilliseconds);
  }
  return killed.size();
}

}  // namespace berth::shim_client
