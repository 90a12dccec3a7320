#include "bare_runtime.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "machine.h"

namespace berth::bench {
namespace {

namespace fs = std::filesystem;

constexpr int kPatienceMs = 60'000;

void write_file(const std::string& path, const std::string& text) {
  std::ofstream out(path);
  out << text;
  out.close();
  if (!out) throw std::runtime_error("writing " + path + " failed");
}

/// Waits for its end. No child of ours: the bench's parent collects it.
void wait_for(const UniqueFd& process, const std::string& id) {
  pollfd entry{process.get(), POLLIN, 0};
  if (process && ::poll(&entry, 1, kPatienceMs) != 1) {
    throw std::runtime_error("the process of " + id + " does not end");
  }
}

/// Empty when it has ended already.
UniqueFd open_process(const std::string& pid_file) {
  const auto pid = static_cast<pid_t>(std::atoi(read_file(pid_file).c_str()));
  if (pid <= 0) throw std::runtime_error(pid_file + " names no process");
  return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

void write_number(const std::string& path, pid_t number) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  const std::string text = std::to_string(number);
  [[maybe_unused]] const ssize_t written = ::write(fd.get(), text.data(), text.size());
}

}  // namespace

BareRuntime::BareRuntime(const std::string& directory, const std::string& space)
    : directory_(directory), space_(space) {
  for (const char* name : {"bin", "dev", "etc", "proc", "run", "sys", "tmp"}) {
    fs::create_directories(directory_ + "/layer/" + name);
  }
  fs::copy_file(find_program("busybox"), directory_ + "/layer/bin/busybox");
  fs::permissions(directory_ + "/layer/bin/busybox", fs::perms(0755));
  fs::create_directory(directory_ + "/runtime");
}

BareRuntime::~BareRuntime() { clean_up(directory_, space_); }

std::string BareRuntime::refuses(const std::string& runtime) const {
  BareContainer container(*this, "trial", {{"true"}, runtime});
  try {
    container.make();
    container.create();
    container.start();
    container.wait();
    container.remove();
    container.unmake();
    return {};
  } catch (const std::exception& failure) {
    return failure.what();
  }
}

BareContainer::BareContainer(const BareRuntime& place, const std::string& id,
                             const Workload& workload)
    : runtime_(workload.runtime),
      space_(place.space()),
      base_(place.directory()),
      id_(id),
      bundle_(base_ + "/bundle-" + id),
      command_(workload.command) {}

BareContainer::~BareContainer() = default;

void BareContainer::make() {
  for (const char* name : {"", "/rootfs", "/upper", "/work"}) fs::create_directory(bundle_ + name);
  const std::string options =
      "lowerdir=" + base_ + "/layer,upperdir=" + bundle_ + "/upper,workdir=" + bundle_ + "/work";
  if (::mount("overlay", (bundle_ + "/rootfs").c_str(), "overlay", 0, options.c_str()) != 0) {
    throw std::runtime_error("mounting an overlay at " + bundle_ + "/rootfs failed");
  }
  write_file(bundle_ + "/config.json", runtime_spec(space_, id_, command_));
  write_file(bundle_ + "/process.json", process_spec({"true"}));
}

void BareContainer::run_runtime(const std::vector<std::string>& arguments) {
  const std::string log = bundle_ + "/log";
  std::vector<std::string> words = {runtime_, "--root", base_ + "/runtime", "--log", log};
  words.insert(words.end(), arguments.begin(), arguments.end());
  if (const int code = run(words, "/dev/null"); code != 0) {
    throw std::runtime_error(runtime_ + " " + arguments.front() + " " + id_ + " ended with " +
                             std::to_string(code) + ": " + read_file(log));
  }
}

void BareContainer::create() {
  run_runtime({"create", "--bundle", bundle_, "--pid-file", bundle_ + "/pid", id_});
  process_ = open_process(bundle_ + "/pid");
}

void BareContainer::start() { run_runtime({"start", id_}); }

void BareContainer::wait() { wait_for(process_, id_); }

void BareContainer::kill() {
  ::syscall(SYS_pidfd_send_signal, process_.get(), SIGKILL, nullptr, 0);
  wait();
}

void BareContainer::remove() { run_runtime({"delete", id_}); }

void BareContainer::unmake() {
  ::umount2((bundle_ + "/rootfs").c_str(), UMOUNT_NOFOLLOW);
  fs::remove_all(bundle_);
}

void BareContainer::exec(const std::string& exec_id) {
  const std::string pid_file = bundle_ + "/" + exec_id + ".pid";
  run_runtime(
      {"exec", "--process", bundle_ + "/process.json", "--detach", "--pid-file", pid_file, id_});
  wait_for(open_process(pid_file), id_);
  fs::remove(pid_file);
}

CountedThread::CountedThread(const std::string& cgroup) {
  if (cgroup.empty()) return;
  std::istringstream lines(read_file("/proc/thread-self/cgroup"));
  std::string own;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("cpuacct") != std::string::npos) own = line.substr(line.rfind(':') + 1);
  }
  if (own.empty()) return;
  std::error_code error;
  fs::create_directories(cgroup, error);
  home_ = cpu_cgroup(own.substr(1)) + "/tasks";
  write_number(cgroup + "/tasks", ::gettid());
}

CountedThread::~CountedThread() {
  if (!home_.empty()) write_number(home_, ::gettid());
}

}  // namespace berth::bench
