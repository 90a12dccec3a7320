#include <berth/shim_client/program.h>
#include <berth/spawn.h>
#include <berth/ttrpc/loop.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>

namespace berth::shim_client {
namespace {

constexpr size_t kMaxOutput = 1 << 20;

void set_nonblocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

Result<pid_t> spawn(const Program& program, int input, int output, int errors) {
  SpawnSettings settings;
  ::posix_spawn_file_actions_adddup2(&settings.actions, input, 0);
  ::posix_spawn_file_actions_adddup2(&settings.actions, output, 1);
  ::posix_spawn_file_actions_adddup2(&settings.actions, errors, 2);
  // Whatever the daemon inherited or a library left open must not reach shims and containers.
  ::posix_spawn_file_actions_addclosefrom_np(&settings.actions, 3);
  if (!program.directory.empty()) {
    ::posix_spawn_file_actions_addchdir_np(&settings.actions, program.directory.c_str());
  }
  settings.begin_afresh(SpawnSettings::Group::kOwn);
  std::vector<std::string> arguments = {program.path};
  arguments.insert(arguments.end(), program.arguments.begin(), program.arguments.end());
  const auto argv = pointers(arguments);
  const auto envp = pointers(program.environment);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, program.path.c_str(), &settings.actions,
                                  &settings.attributes, argv.data(), envp.data());
  if (error != 0) {
    return errno_status(error, "run " + program.path + (program.directory.empty() ? "" : " in ") +
                                   program.directory);
  }
  return pid;
}

// Reads what is there; closes the descriptor at its end.
void drain(UniqueFd* fd, std::string* out) {
  std::array<char, 16 << 10> buffer;
  while (*fd) {
    const ssize_t got = ::read(fd->get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return fd->reset();
    const size_t room = kMaxOutput - std::min(out->size(), kMaxOutput);
    out->append(buffer.data(), std::min(room, static_cast<size_t>(got)));
  }
}

void feed(UniqueFd* fd, std::string_view* input) {
  while (*fd && !input->empty()) {
    const ssize_t sent = ::write(fd->get(), input->data(), input->size());
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) break;  // EPIPE: it does not want its input
    input->remove_prefix(static_cast<size_t>(sent));
  }
  fd->reset();
}

// A write to a program that ended must not end the daemon; the signal is swallowed on this thread
// alone.
class SigpipeBlocked {
 public:
  SigpipeBlocked() {
    ::sigemptyset(&set_);
    ::sigaddset(&set_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &set_, &before_);
  }
  ~SigpipeBlocked() {
    if (::sigismember(&before_, SIGPIPE) == 0) {
      const timespec now{};
      while (::sigtimedwait(&set_, nullptr, &now) == SIGPIPE) {
      }
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SigpipeBlocked(const SigpipeBlocked&) = delete;
  SigpipeBlocked& operator=(const SigpipeBlocked&) = delete;

 private:
  sigset_t set_{};
  sigset_t before_{};
};

/// How late a caller that has gone is noticed.
constexpr int kCancellationPollMs = 100;

int remaining_ms(int64_t deadline_ns) {
  if (deadline_ns == INT64_MAX) return -1;
  const int64_t left = (deadline_ns - ttrpc::monotonic_ns() + 999'999) / 1'000'000;
  return static_cast<int>(std::clamp<int64_t>(left, 0, 1 << 30));
}

}  // namespace

Result<ProgramOutcome> run_program(const Program& program, int64_t deadline_ns,
                                   const std::function<bool()>& cancelled) {
  BERTH_ASSIGN_OR_RETURN(Pipe input, make_pipe());
  BERTH_ASSIGN_OR_RETURN(Pipe output, make_pipe());
  BERTH_ASSIGN_OR_RETURN(Pipe errors, make_pipe());
  const SigpipeBlocked blocked;
  BERTH_ASSIGN_OR_RETURN(const pid_t pid,
                         spawn(program, input.read.get(), output.write.get(), errors.write.get()));
  input.read.reset();
  output.write.reset();
  errors.write.reset();
  for (const int fd : {input.write.get(), output.read.get(), errors.read.get()})
    set_nonblocking(fd);
  // A child that is not yet waited for keeps its pid, so this cannot name another process.
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));

  ProgramOutcome outcome;
  std::string_view unsent = program.input;
  bool timed_out = false;
  bool given_up = false;
  while (true) {
    feed(&input.write, &unsent);
    std::array<pollfd, 4> waiting = {
        pollfd{process.get(), POLLIN, 0}, pollfd{output.read.get(), POLLIN, 0},
        pollfd{errors.read.get(), POLLIN, 0}, pollfd{input.write.get(), POLLOUT, 0}};
    const int left = remaining_ms(deadline_ns);
    const bool polls = cancelled && (left < 0 || left > kCancellationPollMs);
    const int count = ::poll(waiting.data(), waiting.size(), polls ? kCancellationPollMs : left);
    if (count < 0 && errno != EINTR) break;
    drain(&output.read, &outcome.output);
    drain(&errors.read, &outcome.errors);
    if (waiting[0].revents != 0) break;
    if (count == 0) {
      given_up = polls && cancelled();
      if (polls && !given_up) continue;
      timed_out = !given_up;
      ::kill(-pid, SIGKILL);
      break;
    }
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  drain(&output.read, &outcome.output);
  drain(&errors.read, &outcome.errors);
  if (given_up) {
    return berth::cancelled("run " + program.path + ": the caller has gone, so it was killed");
  }
  if (timed_out) {
    return deadline_exceeded("run " + program.path + ": it did not end in time and was killed" +
                             (outcome.errors.empty() ? "" : ": " + outcome.errors));
  }
  outcome.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

}  // namespace berth::shim_client
