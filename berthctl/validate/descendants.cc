#include "validate/descendants.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace berth::ctl::validate {
namespace {

namespace fs = std::filesystem;

/// 0: it is gone.
pid_t parent_of(const fs::path& process) {
  std::ifstream file(process / "stat");
  std::string stat;
  std::getline(file, stat);
  // The name, in parentheses, may hold anything; the state follows it, then the parent.
  const size_t end = stat.rfind(") ");
  return end == std::string::npos ? 0 : static_cast<pid_t>(std::atol(stat.c_str() + end + 4));
}

}  // namespace

std::set<pid_t> children() {
  std::set<pid_t> found;
  std::error_code error;
  for (fs::directory_iterator entry("/proc", error), end; !error && entry != end;
       entry.increment(error)) {
    const pid_t pid = std::atoi(entry->path().filename().c_str());
    if (pid > 0 && parent_of(entry->path()) == ::getpid()) found.insert(pid);
  }
  return found;
}

void adopt_orphans() { (void)::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

bool is_gone(pid_t pid) {
  (void)::waitpid(pid, nullptr, WNOHANG);
  return ::kill(pid, 0) != 0 && errno == ESRCH;
}

bool end_children(const std::set<pid_t>& others, std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (true) {
    bool there = false;
    // A child that has not been waited for keeps its pid, so none of these is another's.
    for (const pid_t pid : children()) {
      if (others.contains(pid)) continue;
      there = true;
      ::kill(pid, SIGKILL);
      (void)::waitpid(pid, nullptr, WNOHANG);
    }
    if (!there) return true;
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

}  // namespace berth::ctl::validate
