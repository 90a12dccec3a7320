#include "process.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

namespace @ident@_plugin {

using berth::Status;
using berth::UniqueFd;
using berth::errno_status;
using nlohmann::json;

namespace {

Status read_process(const json& process, Wanted* out) {
  out->args = process.at("args").get<std::vector<std::string>>();
  out->env = process.value("env", std::vector<std::string>());
  out->cwd = process.value("cwd", "/");
  if (process.contains("user")) {
    out->uid = process["user"].value("uid", 0U);
    out->gid = process["user"].value("gid", 0U);
  }
  if (out->args.empty()) return berth::invalid_argument("the process has no args");
  if (process.value("terminal", false)) return berth::unimplemented("this runtime has no terminals");
  return {};
}

MountPoint mount_of(const json& mount) {
  static const std::map<std::string, unsigned long> flags = {
      {"ro", MS_RDONLY}, {"nosuid", MS_NOSUID}, {"nodev", MS_NODEV}, {"noexec", MS_NOEXEC}, {"bind", MS_BIND},
      {"rbind", MS_BIND | MS_REC}, {"rw", 0}, {"noatime", MS_NOATIME}, {"relatime", MS_RELATIME},
      {"strictatime", MS_STRICTATIME}, {"private", 0}, {"rprivate", 0}, {"slave", 0}, {"rslave", 0}};
  MountPoint out{mount.value("type", ""), mount.value("source", ""), mount.at("destination").get<std::string>(), 0, ""};
  for (const std::string& option : mount.value("options", std::vector<std::string>())) {
    if (const auto found = flags.find(option); found != flags.end()) {
      out.flags |= found->second;
    } else {
      out.data += (out.data.empty() ? "" : ",") + option;
    }
  }
  return out;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

berth::Result<UniqueFd> open_stream(const std::string& path, int flags) {
  UniqueFd fd(::open(path.empty() ? "/dev/null" : path.c_str(), flags | O_CLOEXEC));
  if (!fd) return errno_status(errno, "open " + path);
  return fd;
}

/// What programs expect in /dev, all of the kernel's memory devices.
constexpr struct {
  const char* name;
  unsigned minor;
} kDevices[] = {{"null", 3}, {"zero", 5}, {"full", 7}, {"random", 8}, {"urandom", 9}};

/// All that the child needs, made before it is: between fork and exec it calls the system alone.
struct Plan {
  const Wanted& wanted;
  std::vector<char*> args, env;
  std::vector<std::string> programs;  // where it may be
  std::vector<std::string> targets;   // of the mounts
  std::vector<std::string> devices;   // where those of kDevices go
  int in, out, err, go, outcome;
  int others[2];  // ends of the parent, which must not outlive it
};

int prepare(const Plan& plan) {
  const Wanted& wanted = plan.wanted;
  // What this program blocks and ignores is nothing to the user's.
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  if (!wanted.mounts.empty()) {
    if (::unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC) != 0) return errno;
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return errno;
  }
  for (size_t i = 0; i < wanted.mounts.size(); ++i) {
    const MountPoint& mount = wanted.mounts[i];
    (void)::mkdir(plan.targets[i].c_str(), 0755);  // those that are there stay
    if (::mount(mount.source.c_str(), plan.targets[i].c_str(), mount.type.c_str(), mount.flags, mount.data.c_str()) != 0) return errno;
  }
  for (size_t i = 0; i < plan.devices.size(); ++i) {
    (void)::mknod(plan.devices[i].c_str(), S_IFCHR, makedev(1, kDevices[i].minor));
    (void)::chmod(plan.devices[i].c_str(), 0666);
  }
  if (::chdir(wanted.root.c_str()) != 0 || ::chroot(".") != 0 || ::chdir(wanted.cwd.c_str()) != 0) return errno;
  if (::dup2(plan.in, 0) < 0 || ::dup2(plan.out, 1) < 0 || ::dup2(plan.err, 2) < 0) return errno;
  return 0;
}

[[noreturn]] void child(const Plan& plan) {
  int error = prepare(plan);
  ::close(plan.others[0]);
  ::close(plan.others[1]);
  // Made or not, it is held here: who made it hears of the error when it is to run.
  char byte = 0;
  if (::read(plan.go, &byte, 1) != 1) ::_exit(0);
  if (error == 0 && (::setgroups(0, nullptr) != 0 || ::setgid(plan.wanted.gid) != 0 || ::setuid(plan.wanted.uid) != 0)) error = errno;
  if (error == 0) {
    error = ENOENT;
    for (const std::string& program : plan.programs) {
      ::execve(program.c_str(), plan.args.data(), plan.env.data());
      if (errno != ENOENT) error = errno;
    }
  }
  (void)!::write(plan.outcome, &error, sizeof error);
  ::_exit(127);
}

std::vector<std::string> programs_of(const Wanted& wanted) {
  const std::string& name = wanted.args.front();
  if (name.find('/') != std::string::npos) return {name};
  std::string path = "/bin:/usr/bin";
  for (const std::string& variable : wanted.env) {
    if (variable.starts_with("PATH=")) path = variable.substr(5);
  }
  std::vector<std::string> found;
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find(':', at), path.size());
    found.push_back(path.substr(at, end - at) + "/" + name);
    at = end + 1;
  }
  return found;
}

}  // namespace

Status read_process(const std::string& text, Wanted* out) {
  try {
    return read_process(json::parse(text), out);
  } catch (const json::exception& error) {
    return berth::invalid_argument(std::string("read the process: ") + error.what());
  }
}

Status read_bundle(const std::string& bundle, Wanted* out) {
  std::ifstream file(bundle + "/config.json");
  if (!file) return errno_status(errno, "read " + bundle + "/config.json");
  try {
    const json spec = json::parse(file);
    BERTH_RETURN_IF_ERROR(read_process(spec.at("process"), out));
    const std::string root = spec.at("root").at("path");
    out->root = root.starts_with('/') ? root : bundle + "/" + root;
    for (const json& mount : spec.value("mounts", json::array())) {
      if (mount.value("type", "") != "cgroup") out->mounts.push_back(mount_of(mount));
    }
    return {};
  } catch (const json::exception& error) {
    return berth::invalid_argument("read " + bundle + "/config.json: " + error.what());
  }
}

berth::Result<Process> Process::make(const Wanted& wanted) {
  Process out;
  int go[2], outcome[2];
  if (::pipe2(go, O_CLOEXEC) != 0) return errno_status(errno, "make a pipe");
  const UniqueFd go_read(go[0]);
  out.go_.reset(go[1]);
  if (::pipe2(outcome, O_CLOEXEC) != 0) return errno_status(errno, "make a pipe");
  out.outcome_.reset(outcome[0]);
  const UniqueFd outcome_write(outcome[1]);
  // Fifos are opened for both, so that nobody waits for the client and nothing ends when it goes.
  if (!wanted.in.empty()) {
    BERTH_ASSIGN_OR_RETURN(out.input_, open_stream(wanted.in, O_RDWR));
  }
  BERTH_ASSIGN_OR_RETURN(const UniqueFd in, open_stream(wanted.in, O_RDONLY));
  BERTH_ASSIGN_OR_RETURN(const UniqueFd stdout_fd, open_stream(wanted.out, O_RDWR));
  BERTH_ASSIGN_OR_RETURN(const UniqueFd stderr_fd, open_stream(wanted.err, O_RDWR));
  Plan plan{wanted, pointers(wanted.args), pointers(wanted.env), programs_of(wanted), {}, {},
            in.get(), stdout_fd.get(), stderr_fd.get(), go_read.get(), outcome_write.get(), {out.go_.get(), out.outcome_.get()}};
  for (const MountPoint& mount : wanted.mounts) plan.targets.push_back(wanted.root + mount.target);
  if (!wanted.mounts.empty()) {
    for (const auto& device : kDevices) plan.devices.push_back(wanted.root + "/dev/" + device.name);
  }
  out.pid_ = ::fork();
  if (out.pid_ < 0) return errno_status(errno, "make a process");
  if (out.pid_ == 0) child(plan);
  (void)::setpgid(out.pid_, out.pid_);  // each leads a group, before anybody can want to kill it
  return out;
}

Status Process::start() {
  if (::write(go_.get(), "g", 1) != 1) return errno_status(errno, "let process " + std::to_string(pid_) + " run");
  int error = 0;
  // Its end is closed by exec.
  if (::read(outcome_.get(), &error, sizeof error) == static_cast<ssize_t>(sizeof error)) return errno_status(error, "run the program");
  return {};
}

void wait_until_end(pid_t pid) {
  siginfo_t ignored;
  while (::waitid(P_PID, static_cast<id_t>(pid), &ignored, WEXITED | WNOWAIT) < 0 && errno == EINTR) {
  }
}

uint32_t wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return static_cast<uint32_t>(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

}  // namespace @ident@_plugin
