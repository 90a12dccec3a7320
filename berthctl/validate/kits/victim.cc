#include "validate/kits/victim.h"

#include <berth/fd.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <thread>

namespace berth::ctl::validate {

namespace fs = std::filesystem;
namespace {

constexpr const char* kSkip = "skip: ";

std::string drain(int fd) {
  std::string text;
  char buffer[4096];
  while (true) {
    const ssize_t size = ::read(fd, buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return text;
    text.append(buffer, static_cast<size_t>(size));
  }
}

}  // namespace

Witness kill_at_work(const std::function<std::string(const Tell&)>& work,
                     std::chrono::microseconds after) {
  Witness witness;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    witness.failure = "no pipe to the victim";
    return witness;
  }
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t pid = ::fork();
  if (pid < 0) {
    witness.failure = "no victim to be had";
    return witness;
  }
  if (pid == 0) {
    const int out = writer.get();
    const std::string why = work([out](const std::string& line) {
      const std::string whole = line + "\n";
      if (::write(out, whole.data(), whole.size()) < 0) ::_exit(1);
    });
    const std::string last = "!" + why + "\n";
    (void)!::write(out, last.data(), last.size());
    ::_exit(0);
  }
  writer.reset();
  pollfd first{reader.get(), POLLIN, 0};
  while (::poll(&first, 1, -1) < 0 && errno == EINTR) {
  }
  std::this_thread::sleep_for(after);
  ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  std::istringstream lines(drain(reader.get()));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('!')) {
      witness.failure = line.substr(1);
    } else {
      witness.told.push_back(line);
    }
  }
  if (witness.failure.empty() && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)) {
    witness.failure = "it ended by itself";
  }
  return witness;
}

void CrashCase::SetUp() {
  ASSERT_NO_FATAL_FAILURE(PluginCase::SetUp());
  directory_ = (fs::temp_directory_path() / "berth-crash-XXXXXX").string();
  ASSERT_NE(::mkdtemp(directory_.data()), nullptr);
}

void CrashCase::TearDown() {
  if (plugin_) plugin_->stop();
  std::error_code ignored;
  if (!directory_.empty()) fs::remove_all(directory_, ignored);
}

std::string CrashCase::start_in_victim() {
  const Status started = plugin_->start({}, directory_);
  if (started.ok()) return {};
  return (plugin_->was_skipped() ? kSkip : "") + started.message();
}

bool CrashCase::usable(const Witness& witness) {
  if (witness.failure.starts_with(kSkip)) {
    skip_ = "the plugin skips this machine: " + witness.failure.substr(6);
    return false;
  }
  if (witness.failure.empty()) return true;
  ADD_FAILURE() << "before it was killed: " << witness.failure;
  return false;
}

}  // namespace berth::ctl::validate
