#include "supervisor.h"

#include <berth/fd.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include "machine.h"

namespace berth::crash {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPlace = "/tmp";
constexpr std::string_view kName = "berth-crash-";
/// Locked by its run as long as one of its two processes lives.
constexpr const char* kOwner = "/owner";

Territory territory(const std::string& number) {
  return {std::string(kPlace) + "/" + std::string(kName) + number, "crash-" + number};
}

UniqueFd lock_owner(const std::string& folder, int flags) {
  UniqueFd file(::open((folder + kOwner).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600));
  if (file && ::flock(file.get(), LOCK_EX | LOCK_NB) != 0) file.reset();
  return file;
}

/// The folder has its name only when it is locked.
UniqueFd claim(const Territory& own) {
  const std::string unnamed = std::string(kPlace) + "/." + fs::path(own.folder).filename().string();
  fs::remove_all(unnamed);
  fs::create_directory(unnamed);
  UniqueFd owner = lock_owner(unnamed, O_CREAT | O_EXCL);
  if (!owner) throw std::runtime_error("cannot lock " + unnamed + kOwner);
  fs::rename(unnamed, own.folder);
  return owner;
}

void remove_abandoned() {
  for (const auto& entry : fs::directory_iterator(kPlace)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kName) || !entry.is_directory() || entry.is_symlink()) continue;
    const std::string number = name.substr(kName.size());
    if (number.empty() || number.find_first_not_of("0123456789") != std::string::npos) continue;
    const Territory abandoned = territory(number);
    const UniqueFd owner = lock_owner(abandoned.folder, 0);
    if (!owner) continue;  // somebody's, or nobody knows whose
    std::printf("removed what an earlier run left: %s\n", abandoned.folder.c_str());
    clean_up(abandoned.folder, abandoned.space);
  }
}

/// Waits for the child's end, which a signal hastens.
int outcome(pid_t child, const sigset_t& signals) {
  int interrupted = 0;
  while (true) {
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) == child) {
      if (interrupted != 0) return 128 + interrupted;
      if (WIFEXITED(status)) return WEXITSTATUS(status);
      std::printf("FAILED: the test was ended by signal %d\n", WTERMSIG(status));
      return 1;
    }
    const int number = ::sigwaitinfo(&signals, nullptr);
    if (number <= 0 || number == SIGCHLD) continue;
    interrupted = number;
    std::printf("interrupted by the signal %s\n", ::strsignal(number));
    ::kill(child, SIGKILL);
  }
}

}  // namespace

int supervise(const std::function<int(const Territory&)>& test) {
  remove_abandoned();
  const Territory own = territory(std::to_string(::getpid()));
  const UniqueFd owner = claim(own);
  sigset_t signals;
  sigset_t before;
  ::sigemptyset(&signals);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) ::sigaddset(&signals, number);
  ::sigprocmask(SIG_BLOCK, &signals, &before);
  // What the test leaves when it dies becomes this one's.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  std::fflush(stdout);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("cannot fork");
  if (child == 0) {
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    const int code = test(own);
    std::fflush(stdout);
    ::_exit(code);
  }
  const int code = outcome(child, signals);
  clean_up(own.folder, own.space);
  return code;
}

}  // namespace berth::crash
