#include "validate/kits/shim_kit.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "containerd/events/task.pb.h"
#include "containerd/services/ttrpc/events/v1/events.pb.h"
#include "testing/suite_files.h"
#include "validate/descendants.h"
#include "validate/kits/mounts_below.h"
#include "validate/kits/shim_leftovers.h"

namespace berth::ctl::validate {

namespace fs = std::filesystem;
namespace {

constexpr const char* kEvents = "containerd.services.events.ttrpc.v1.Events";

nlohmann::json process_of(const Wanted& wanted) {
  return {{"user", {{"uid", wanted.user}, {"gid", wanted.user}}},
          {"args", wanted.args},
          {"env", wanted.env},
          {"cwd", wanted.cwd},
          {"terminal", wanted.terminal}};
}

template <typename Event>
std::string told(const google::protobuf::Any& any, const std::string& (Event::*of)() const) {
  Event event;
  return event.ParseFromString(any.value()) ? (event.*of)() : "(not readable)";
}

/// "ID" of the event and what matters of it.
std::string line_of(const std::string& topic, const google::protobuf::Any& any) {
  namespace events = containerd::events;
  if (topic == "/tasks/exit") {
    events::TaskExit exit;
    if (!exit.ParseFromString(any.value())) return topic + " (not readable)";
    return topic + " " + exit.container_id() + " " +
           (exit.id() == exit.container_id() ? "" : exit.id() + " ") + "status " +
           std::to_string(exit.exit_status());
  }
  if (topic == "/tasks/exec-added" || topic == "/tasks/exec-started") {
    events::TaskExecAdded exec;  // both begin alike
    if (!exec.ParseFromString(any.value())) return topic + " (not readable)";
    return topic + " " + exec.container_id() + " " + exec.exec_id();
  }
  // The container is field 1 of the others.
  return topic + " " + told(any, &events::TaskPaused::container_id);
}

void make_rootfs(const std::string& rootfs) {
  fs::create_directories(rootfs + "/bin");
  fs::copy_file("/bin/busybox", rootfs + "/bin/busybox");
  for (const char* name : {"sh", "cat", "sleep", "id", "echo", "date", "test", "dd", "tty"}) {
    fs::create_symlink("busybox", rootfs + "/bin/" + name);
  }
  for (const char* name : {"proc", "dev", "sys", "tmp"}) fs::create_directory(rootfs + "/" + name);
  fs::permissions(rootfs + "/tmp", fs::perms::all);
}

}  // namespace

bool comes_true(const std::function<bool()>& holds) {
  for (const int64_t end = monotonic_now() + 10'000'000'000; monotonic_now() < end;) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return holds();
}

void ShimEvents::add(const std::string& line) {
  const std::lock_guard lock(mutex_);
  lines_.push_back(line);
  came_.notify_all();
}

std::vector<std::string> ShimEvents::wait_for(const std::string& id, size_t count) {
  std::unique_lock lock(mutex_);
  std::vector<std::string> found;
  const auto enough = [&] {
    found.clear();
    for (const std::string& line : lines_) {
      if (const size_t at = line.find(id); at != std::string::npos) {
        found.push_back(line.substr(0, at) + "ID" + line.substr(at + id.size()));
      }
    }
    return found.size() >= count;
  };
  came_.wait_for(lock, std::chrono::seconds(10), enough);
  (void)enough();
  return found;
}

FifoReader::FifoReader(const std::string& path)
    : fd_(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC)) {}

std::string FifoReader::read(size_t size) {
  std::string text;
  char buffer[65536];
  const int64_t end = monotonic_now() + 10'000'000'000;
  while (text.size() < size && monotonic_now() < end) {
    pollfd wait{fd_.get(), POLLIN, 0};
    if (::poll(&wait, 1, 100) <= 0) continue;
    const ssize_t count = ::read(fd_.get(), buffer, sizeof buffer);
    if (count > 0) text.append(buffer, static_cast<size_t>(count));
  }
  return text;
}

void ShimKit::SetUp() {
  if (::geteuid() != 0) GTEST_SKIP() << "containers need root";
  if (::access("/bin/busybox", X_OK) != 0) GTEST_SKIP() << "/bin/busybox is missing";
  adopt_orphans();  // so that nobody else is waited for to take the end of a shim
  // What a shim mounts ends with this process and the shim.
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    GTEST_SKIP() << "no mount namespace to be had: " << std::strerror(errno);
  }
  directory_ = (fs::temp_directory_path() / "berth-shim-XXXXXX").string();
  ASSERT_NE(::mkdtemp(directory_.data()), nullptr);
  for (const char* name : {"/state", "/root"}) fs::create_directory(directory_ + name);
  auto loop = ttrpc::Loop::start();
  ASSERT_TRUE(loop.ok()) << loop.status().to_string();
  loop_ = std::move(*loop);
  auto listening = ttrpc::listen_unix(launcher_settings_in(directory_).ttrpc_address, 0600);
  ASSERT_TRUE(listening.ok()) << listening.status().to_string();
  auto server = ttrpc::Server::serve(
      loop_, std::move(*listening),
      [this](const ttrpc::Request& request, const ttrpc::Responder& responder) {
        containerd::services::events::ttrpc::v1::ForwardRequest forward;
        if (request.service != kEvents || request.method != "Forward" ||
            !forward.ParseFromString(request.payload)) {
          events_.add("a call of " + request.service + "/" + request.method + " that is no event");
        } else {
          events_.add(line_of(forward.envelope().topic(), forward.envelope().event()));
        }
        responder.finish({}, "");
      });
  ASSERT_TRUE(server.ok()) << server.status().to_string();
  server_ = std::move(*server);
  launcher_ = std::make_unique<shim_client::ShimLauncher>(launcher_settings_in(directory_));
}

void ShimKit::TearDown() {
  for (const auto& container : containers_) {
    if (container->dismissed) continue;
    container->shim.reset();
    // As a daemon does with what a dead shim has left; the shim itself is killed first.
    if (container->shim_pid > 0) ::kill(container->shim_pid, SIGKILL);
    comes_true([&] { return container->shim_pid <= 0 || is_gone(container->shim_pid); });
    (void)launcher_->remove(*container->bundle, subject().file);
    for (const pid_t pid : processes_of(container->id)) ::kill(pid, SIGKILL);
    if (container->process) {
      (void)::syscall(SYS_pidfd_send_signal, container->process.get(), SIGKILL, nullptr, 0);
    }
    remove_cgroups_of(container->id);
  }
  for (const auto& container : containers_) {
    EXPECT_TRUE(comes_true([&] { return processes_of(container->id).empty(); }))
        << processes_of(container->id).size() << " processes of " << container->id << " are left";
    (void)comes_true([&] { return cgroups_of(container->id).empty(); });
    EXPECT_EQ(cgroups_of(container->id), std::vector<std::string>()) << "cgroups are left";
    remove_cgroups_of(container->id);
    container->log.reset();
    const Status removed = container->bundle->remove();
    EXPECT_TRUE(removed.ok()) << removed.to_string();
  }
  server_.reset();
  if (!directory_.empty()) {
    EXPECT_EQ(mounts_below(directory_), std::vector<std::string>()) << "mounts are left";
    std::error_code ignored;
    fs::remove_all(directory_, ignored);
  }
}

ShimKit::Container* ShimKit::launch(const Wanted& wanted) {
  using nlohmann::json;
  auto container = std::make_unique<Container>();
  container->id = "kit-" + std::to_string(::getpid()) + "-" + std::to_string(containers_.size());
  container->rootfs = directory_ + "/" + container->id;
  container->terminal = wanted.terminal;
  make_rootfs(container->rootfs);
  const json spec = {
      {"ociVersion", "1.0.2"},
      {"process", process_of(wanted)},
      {"root", {{"path", "rootfs"}}},
      {"mounts", json::array({{{"destination", "/proc"}, {"type", "proc"}, {"source", "proc"}},
                              {{"destination", "/dev"},
                               {"type", "tmpfs"},
                               {"source", "tmpfs"},
                               {"options", {"mode=755", "size=65536k"}}},
                              {{"destination", "/dev/pts"},
                               {"type", "devpts"},
                               {"source", "devpts"},
                               {"options", {"newinstance", "ptmxmode=0666", "mode=0620"}}}})},
      {"linux",
       {{"cgroupsPath", cgroup_of(container->id)},
        {"namespaces",
         json::array(
             {{{"type", "pid"}}, {{"type", "ipc"}}, {{"type", "uts"}}, {{"type", "mount"}}})}}}};
  auto bundle = shim_client::Bundle::create(roots_in(directory_), {kShimNamespace, container->id},
                                            spec.dump());
  if (!bundle.ok()) {
    ADD_FAILURE() << bundle.status().to_string();
    return nullptr;
  }
  container->bundle = std::make_unique<shim_client::Bundle>(std::move(*bundle));
  auto log = shim_client::ShimLog::open(loop_, *container->bundle, [](std::string_view line) {
    const std::string text = "[ shim     ] " + std::string(line) + "\n";
    (void)!::write(STDOUT_FILENO, text.data(), text.size());
  });
  if (log.ok()) container->log = std::move(*log);
  doing("run " + subject().file + " start");
  auto started =
      launcher_->start(*container->bundle, subject().file, "", monotonic_now() + 20'000'000'000);
  if (!started.ok()) {
    ADD_FAILURE() << "\"start\" fails: " << started.status().to_string();
    (void)container->bundle->remove();
    return nullptr;
  }
  container->bootstrap = *started;
  (void)shim_client::write_bootstrap(*container->bundle, *started);
  containers_.push_back(std::move(container));
  Container* const made = containers_.back().get();
  if (const Status connected = connect(made); !connected.ok()) {
    ADD_FAILURE() << "it does not serve at " << started->address << ": " << connected.to_string();
    return nullptr;
  }
  return made;
}

Status ShimKit::connect(Container* container) {
  BERTH_ASSIGN_OR_RETURN(container->shim, shim_client::Shim::connect(
                                              loop_, {kShimNamespace, container->id},
                                              container->bootstrap, shim_client::ShimTimeouts{}));
  shim_api::ConnectRequest request;
  shim_api::ConnectResponse response;
  request.set_id(container->id);
  Status asked = call(container, "Connect", request, &response);
  // An older one, which serves containerd.task.v2.Task, whatever it said.
  if (asked.code() == Code::kUnimplemented && container->shim->downgrade()) {
    asked = call(container, "Connect", request, &response);
  }
  BERTH_RETURN_IF_ERROR(asked);
  container->shim_pid = static_cast<pid_t>(response.shim_pid());
  if (container->shim_pid <= 1) return internal_error("Connect does not tell the shim's pid");
  return {};
}

void ShimKit::dismiss(Container* container) {
  shim_api::ShutdownRequest request;
  google::protobuf::Empty nothing;
  request.set_id(container->id);
  const Status asked = call(container, "Shutdown", request, &nothing);
  // It may be gone before its answer is.
  EXPECT_TRUE(asked.ok() || shim_client::is_closed(asked)) << asked.to_string();
  const pid_t pid = container->shim_pid;
  EXPECT_TRUE(comes_true([&] { return is_gone(pid); })) << "the shim does not end after Shutdown";
  container->dismissed = is_gone(pid);
  if (container->dismissed) {
    // The daemon does it after every shim.
    (void)launcher_->remove(*container->bundle, subject().file);
  }
}

std::string ShimKit::errors_of(const Streams& streams, bool terminal) const {
  // Who names one of the two names both, as all clients do; a terminal has one stream.
  if (!streams.err.empty() || streams.out.empty() || terminal) return streams.err;
  return streams.out;
}

Status ShimKit::create(Container* container, const Streams& streams, uint32_t* pid) {
  shim_api::CreateTaskRequest request;
  shim_api::CreateTaskResponse response;
  request.set_id(container->id);
  request.set_bundle(container->bundle->path());
  auto* const mount = request.add_rootfs();
  mount->set_type("bind");
  mount->set_source(container->rootfs);
  mount->add_options("rbind");
  mount->add_options("rw");
  request.set_terminal(container->terminal);
  request.set_stdin(streams.in);
  request.set_stdout(streams.out);
  request.set_stderr(errors_of(streams, container->terminal));
  BERTH_RETURN_IF_ERROR(call(container, "Create", request, &response));
  container->process.reset(
      static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(response.pid()), 0)));
  if (pid != nullptr) *pid = response.pid();
  return {};
}

Status ShimKit::start(Container* container, const std::string& exec, uint32_t* pid) {
  shim_api::StartRequest request;
  shim_api::StartResponse response;
  request.set_id(container->id);
  request.set_exec_id(exec);
  BERTH_RETURN_IF_ERROR(call(container, "Start", request, &response));
  if (pid != nullptr) *pid = response.pid();
  return {};
}

std::future<Ended> ShimKit::wait(Container* container, const std::string& exec) {
  shim_api::WaitRequest request;
  request.set_id(container->id);
  request.set_exec_id(exec);
  auto promise = std::make_shared<std::promise<Ended>>();
  container->shim->call_async<shim_api::WaitResponse>(
      Context(), "Wait", request, std::chrono::minutes(1),
      [promise](const Status& status, const shim_api::WaitResponse& response) {
        promise->set_value({status, response.exit_status(), response.exited_at().seconds()});
      });
  return promise->get_future();
}

Ended ShimKit::end_of(std::future<Ended>& waiting) {
  doing("wait for an end");
  if (waiting.wait_for(std::chrono::seconds(20)) != std::future_status::ready) {
    return {deadline_exceeded("Wait has not answered after 20 s"), 0, 0};
  }
  return waiting.get();
}

Status ShimKit::kill(Container* container, int signal, const std::string& exec) {
  shim_api::KillRequest request;
  google::protobuf::Empty nothing;
  request.set_id(container->id);
  request.set_exec_id(exec);
  request.set_signal(static_cast<uint32_t>(signal));
  return call(container, "Kill", request, &nothing);
}

Status ShimKit::remove(Container* container, const std::string& exec,
                       shim_api::DeleteResponse* response) {
  shim_api::DeleteRequest request;
  shim_api::DeleteResponse ignored;
  request.set_id(container->id);
  request.set_exec_id(exec);
  return call(container, "Delete", request, response == nullptr ? &ignored : response);
}

Status ShimKit::exec(Container* container, const std::string& exec, const Wanted& wanted,
                     const Streams& streams) {
  shim_api::ExecProcessRequest request;
  google::protobuf::Empty nothing;
  request.set_id(container->id);
  request.set_exec_id(exec);
  request.set_terminal(wanted.terminal);
  request.set_stdin(streams.in);
  request.set_stdout(streams.out);
  request.set_stderr(errors_of(streams, wanted.terminal));
  request.mutable_spec()->set_type_url("types.containerd.io/opencontainers/runtime-spec/1/Process");
  request.mutable_spec()->set_value(process_of(wanted).dump());
  return call(container, "Exec", request, &nothing);
}

Result<shim_api::StateResponse> ShimKit::state(Container* container, const std::string& exec) {
  shim_api::StateRequest request;
  shim_api::StateResponse response;
  request.set_id(container->id);
  request.set_exec_id(exec);
  BERTH_RETURN_IF_ERROR(call(container, "State", request, &response));
  return response;
}

Status ShimKit::simple(Container* container, const char* method) {
  shim_api::PauseRequest request;  // Resume's is the same
  google::protobuf::Empty nothing;
  request.set_id(container->id);
  return call(container, method, request, &nothing);
}

void ShimKit::run_to_end(Container* container, uint32_t code) {
  const Status created = create(container);
  ASSERT_TRUE(created.ok()) << created.to_string();
  auto waiting = wait(container);
  const Status started = start(container);
  ASSERT_TRUE(started.ok()) << started.to_string();
  const Ended ended = end_of(waiting);
  ASSERT_TRUE(ended.status.ok()) << ended.status.to_string();
  EXPECT_EQ(ended.code, code);
}

std::string ShimKit::fifo(const std::string& name) const {
  const std::string path = directory_ + "/" + name;
  EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0) << path;
  return path;
}

std::vector<pid_t> ShimKit::processes_of(const std::string& id) {
  std::vector<pid_t> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto pid = static_cast<pid_t>(std::stol(name));
    if (pid == ::getpid()) continue;
    if (berth::testing::read(entry.path() / "cmdline").find(id) != std::string::npos) {
      found.push_back(pid);
    }
  }
  return found;
}

}  // namespace berth::ctl::validate
