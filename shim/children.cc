#include "children.h"

#include <berth/fault.h>
#include <berth/spawn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include <condition_variable>
#include <memory>

namespace berth::shim {
namespace {

void redirect(posix_spawn_file_actions_t* actions, int from, int to) {
  if (from >= 0) {
    ::posix_spawn_file_actions_adddup2(actions, from, to);
  } else {
    ::posix_spawn_file_actions_addopen(actions, to, "/dev/null", to == 0 ? O_RDONLY : O_WRONLY, 0);
  }
}

Status not_run(int error, const std::string& program) {
  if (error != ENOENT) return errno_status(error, "fork/exec " + program);
  if (program.find('/') != std::string::npos) {
    return not_found("fork/exec " + program + ": no such file or directory");
  }
  return not_found("exec: \"" + program + "\": executable file not found in $PATH");
}

}  // namespace

Exit exit_now(pid_t pid, uint32_t status) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return {pid, status, now.tv_sec, static_cast<int32_t>(now.tv_nsec)};
}

Children::Children(Ended orphan) : orphan_(std::move(orphan)) {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGCHLD);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

Result<pid_t> Children::spawn(const Command& command, Ended ended) {
  constexpr int kAboveAll = 16;
  SpawnSettings settings;
  redirect(&settings.actions, command.in, 0);
  redirect(&settings.actions, command.out, 1);
  redirect(&settings.actions, command.err, 2);
  std::vector<UniqueFd> moved;  // out of the way of the numbers that are wanted
  for (size_t i = 0; i < command.more.size(); ++i) {
    moved.emplace_back(::fcntl(command.more[i], F_DUPFD_CLOEXEC, kAboveAll));
    ::posix_spawn_file_actions_adddup2(&settings.actions, moved.back().get(),
                                       static_cast<int>(3 + i));
  }
  ::posix_spawn_file_actions_addclosefrom_np(&settings.actions,
                                             static_cast<int>(3 + command.more.size()));
  if (!command.directory.empty()) {
    ::posix_spawn_file_actions_addchdir_np(&settings.actions, command.directory.c_str());
  }
  settings.begin_afresh(SpawnSettings::Group::kOfTheParent);
  std::vector<std::string> arguments = {command.program};
  arguments.insert(arguments.end(), command.arguments.begin(), command.arguments.end());
  const auto argv = pointers(arguments);
  std::vector<char*> envp;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    envp.push_back(*entry);
  }
  for (const std::string& entry : command.more_environment) {
    envp.push_back(const_cast<char*>(entry.c_str()));
  }
  envp.push_back(nullptr);
  const std::lock_guard lock(mutex_);
  pid_t pid = 0;
  const int error = ::posix_spawnp(&pid, command.program.c_str(), &settings.actions,
                                   &settings.attributes, argv.data(), envp.data());
  if (error != 0) return not_run(error, command.program);
  programs_.emplace(pid, std::move(ended));
  return pid;
}

Result<Exit> Children::run(const Command& command) {
  struct Outcome {
    std::mutex mutex;
    std::condition_variable ended;
    bool done = false;
    Exit exit;
  };
  const auto outcome = std::make_shared<Outcome>();
  BERTH_ASSIGN_OR_RETURN([[maybe_unused]] const pid_t pid,
                         spawn(command, [outcome](const Exit& exit) {
                           {
                             const std::lock_guard lock(outcome->mutex);
                             outcome->exit = exit;
                             outcome->done = true;
                           }
                           outcome->ended.notify_one();
                         }));
  BERTH_FAULT_CHILD(command.arguments, pid);
  std::unique_lock lock(outcome->mutex);
  outcome->ended.wait(lock, [&] { return outcome->done; });
  return outcome->exit;
}

void Children::reap() {
  while (true) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) return;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    const Exit exit = exit_now(pid, static_cast<uint32_t>(code));
    Ended ended;
    {
      const std::lock_guard lock(mutex_);
      if (const auto found = programs_.find(pid); found != programs_.end()) {
        ended = std::move(found->second);
        programs_.erase(found);
      }
    }
    if (ended) {
      ended(exit);
    } else {
      orphan_(exit);
    }
  }
}

void Children::serve() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGCHLD);
  while (true) {
    reap();
    int signal = 0;
    ::sigwait(&set, &signal);
  }
}

}  // namespace berth::shim
