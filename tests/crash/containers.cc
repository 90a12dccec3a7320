#include "containers.h"

#include <google/protobuf/empty.pb.h>
#include <signal.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "containerd/services/containers/v1/containers.pb.h"
#include "containerd/services/tasks/v1/tasks.pb.h"
#include "containerd/types/runc/options/oci.pb.h"
#include "machine.h"

namespace berth::crash {
namespace {

namespace api = containerd::services::tasks::v1;
using google::protobuf::Empty;
using nlohmann::json;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr uint32_t kInitStatus = 42;
constexpr uint32_t kExecStatus = 23;
constexpr auto kTrapPatience = seconds(10);
constexpr auto kBurialPatience = seconds(30);

json process(const std::string& script) {
  return {{"user", {{"uid", 0}, {"gid", 0}}},
          {"args", {"/bin/busybox", "sh", "-c", script}},
          {"env", {"PATH=/bin"}},
          {"cwd", "/"},
          {"noNewPrivileges", true}};
}

std::string specification(const std::string& space, const Plan& plan) {
  json namespaces = json::array();
  for (const char* type : {"pid", "ipc", "uts", "mount"}) namespaces.push_back({{"type", type}});
  const auto mount = [](const char* target, const char* type) {
    return json{{"destination", target}, {"type", type}, {"source", type}};
  };
  json hooks = json::object();
  for (const char* moment : {"poststart", "poststop"}) {
    if (plan.hooks) hooks[moment] = {{{"path", "/bin/true"}}};
  }
  return json{{"ociVersion", "1.0.2"},
              {"process", process("trap 'exit 42' TERM; while :; do busybox sleep 0.05; done")},
              {"root", {{"path", "rootfs"}}},
              {"hooks", hooks},
              {"mounts", {mount("/proc", "proc"), mount("/dev", "tmpfs")}},
              {"linux", {{"cgroupsPath", "/" + space + "/" + plan.id}, {"namespaces", namespaces}}}}
      .dump();
}

/// Whether a process is busybox and has a handler for the signal.
bool traps(pid_t pid, int signal) {
  const std::string folder = "/proc/" + std::to_string(pid);
  std::error_code gone;
  const auto program = std::filesystem::read_symlink(folder + "/exe", gone);
  const std::string status = read_file(folder + "/status");
  const size_t at = status.find("SigCgt:");
  if (gone || at == std::string::npos || program.filename() != "busybox") return false;
  return (std::stoull(status.substr(at + 7), nullptr, 16) >> (signal - 1) & 1) != 0;
}

}  // namespace

ContainerLife::ContainerLife(const Daemon& daemon, Plan plan)
    : daemon_(daemon), plan_(std::move(plan)) {}

void ContainerLife::make_record() {
  containerd::services::containers::v1::CreateContainerRequest request;
  auto* container = request.mutable_container();
  container->set_id(plan_.id);
  container->mutable_runtime()->set_name("io.containerd.runc.v2");
  containerd::runc::v1::Options options;
  options.set_binary_name(plan_.runtime);
  container->mutable_runtime()->mutable_options()->set_type_url("containerd.runc.v1.Options");
  container->mutable_runtime()->mutable_options()->set_value(options.SerializeAsString());
  container->mutable_spec()->set_type_url("types.containerd.io/opencontainers/runtime-spec/1/Spec");
  container->mutable_spec()->set_value(specification(daemon_.space(), plan_));
  const auto made =
      daemon_.client().call<containerd::services::containers::v1::CreateContainerResponse>(
          "containerd.services.containers.v1.Containers/Create", request);
  if (!made.ok()) throw std::runtime_error("make " + plan_.id + ": " + made.status.error_message());
}

bool ContainerLife::create() {
  api::CreateTaskRequest request;
  request.set_container_id(plan_.id);
  auto* root = request.add_rootfs();
  root->set_type("bind");
  root->set_source(plan_.rootfs);
  root->add_options("rbind");
  root->add_options("ro");
  return insist<api::CreateTaskResponse>("Create", request, grpc::StatusCode::ALREADY_EXISTS);
}

bool ContainerLife::start(ProcessLife& process, const std::string& exec_id) {
  api::StartRequest request;
  request.set_container_id(plan_.id);
  request.set_exec_id(exec_id);
  process.started =
      insist<api::StartResponse>("Start", request, grpc::StatusCode::FAILED_PRECONDITION);
  process.maybe_refused =
      !exec_id.empty() && done_before_.find("stopped process") != std::string::npos;
  return process.started;
}

bool ContainerLife::exec(const std::string& exec_id, const std::string& script) {
  api::ExecProcessRequest request;
  request.set_container_id(plan_.id);
  request.set_exec_id(exec_id);
  request.mutable_spec()->set_type_url("types.containerd.io/opencontainers/runtime-spec/1/Process");
  request.mutable_spec()->set_value(process(script).dump());
  return insist<Empty>("Exec", request, grpc::StatusCode::ALREADY_EXISTS);
}

bool ContainerLife::kill(const std::string& exec_id, int signal, bool all) {
  api::KillRequest request;
  request.set_container_id(plan_.id);
  request.set_exec_id(exec_id);
  request.set_signal(static_cast<uint32_t>(signal));
  request.set_all(all);
  return insist<Empty>("Kill", request, grpc::StatusCode::NOT_FOUND);
}

bool ContainerLife::remove(const std::string& exec_id) {
  if (exec_id.empty()) {
    api::DeleteTaskRequest request;
    request.set_container_id(plan_.id);
    return insist<api::DeleteResponse>("Delete", request, grpc::StatusCode::NOT_FOUND);
  }
  api::DeleteProcessRequest request;
  request.set_container_id(plan_.id);
  request.set_exec_id(exec_id);
  return insist<api::DeleteResponse>("DeleteProcess", request, grpc::StatusCode::NOT_FOUND);
}

// Asks until somebody knows: a daemon that dies is asked again when it is back.
bool ContainerLife::wait(ProcessLife& process, const std::string& exec_id, milliseconds patience) {
  api::WaitRequest request;
  request.set_container_id(plan_.id);
  request.set_exec_id(exec_id);
  const auto end = Clock::now() + patience;
  while (Clock::now() < end) {
    const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now());
    const auto answer = tasks<api::WaitResponse>("Wait", request, left);
    if (answer.ok()) {
      process.waited = answer.value.exit_status();
      return true;
    }
    if (answer.code() == grpc::StatusCode::NOT_FOUND) {
      process.unknown = true;
      return true;
    }
    std::this_thread::sleep_for(milliseconds(10));
  }
  return false;
}

void ContainerLife::wait_surely(ProcessLife& process, const std::string& exec_id) {
  if (wait(process, exec_id, kBurialPatience)) return;
  throw std::runtime_error("the end of " + process.container + "/" + process.id +
                           " is not told: " + last_error_);
}

bool ContainerLife::run_execs(std::vector<ProcessLife>& processes) {
  for (const bool killed : {false, true}) {
    const std::string id = plan_.id + (killed ? "-killed" : "-short");
    if (!exec(id,
              killed ? "while :; do busybox sleep 0.05; done" : "busybox sleep 0.02; exit 23")) {
      return false;
    }
    ProcessLife& process = processes.emplace_back();
    process.container = plan_.id;
    process.id = id;
    process.true_status = killed ? 128 + SIGKILL : kExecStatus;
    if (!start(process, id)) return false;
    // The question is there before the end is.
    auto asked = std::async(std::launch::async, [&] { wait_surely(process, id); });
    const bool done = !killed || kill(id, SIGKILL, false);
    if (!done) {
      // Ends with its container, which the burial ends.
      ProcessLife init;
      bury(init);
    }
    asked.get();
    if (!done || process.unknown || !remove(id)) return false;
  }
  return true;
}

std::vector<ProcessLife> ContainerLife::live() {
  std::vector<ProcessLife> processes;
  processes.reserve(3);
  ProcessLife& init = processes.emplace_back();
  init.container = plan_.id;
  init.id = plan_.id;
  init.true_status = plan_.kill_all ? 128 + SIGKILL : kInitStatus;
  const auto killed = [&] {
    for (ProcessLife& process : processes) process.may_be_killed = true;
    return processes;
  };
  if (!create() || !start(init, "") || (plan_.execs && !run_execs(processes))) {
    bury(init);
    return killed();
  }
  auto asked = std::async(std::launch::async, [&] { wait_surely(init, ""); });
  await_trap();
  const bool asked_to_end = kill("", plan_.kill_all ? SIGKILL : SIGTERM, plan_.kill_all);
  ProcessLife nobody;
  if (!asked_to_end) bury(nobody);
  // A signal that was lost with a runtime.
  while (asked.wait_for(milliseconds(300)) != std::future_status::ready) {
    (void)kill("", SIGTERM, false);
  }
  asked.get();
  if (!asked_to_end) return killed();
  if (init.unknown || !remove("")) bury(nobody);
  return processes;
}

// Before that the signal is lost, since pid 1 is killed by nobody, or ends runc's own init, which
// has yet to become the shell, with the status 2.
void ContainerLife::await_trap() {
  const auto end = Clock::now() + kTrapPatience;
  while (Clock::now() < end) {
    api::GetRequest request;
    request.set_container_id(plan_.id);
    const auto state = tasks<api::GetResponse>("Get", request);
    if (state.ok() && state.value.process().status() != containerd::v1::types::RUNNING) return;
    if (state.ok() && traps(static_cast<pid_t>(state.value.process().pid()), SIGTERM)) return;
    if (state.code() == grpc::StatusCode::NOT_FOUND) return;
    std::this_thread::sleep_for(milliseconds(10));
  }
}

void ContainerLife::bury(ProcessLife& init) {
  const auto end = Clock::now() + kBurialPatience;
  while (Clock::now() < end) {
    (void)daemon_.life();
    (void)kill("", SIGKILL, false);
    if (init.started && !init.waited && !init.unknown) {
      // Not for long: the signal may have been lost with a daemon.
      (void)wait(init, "", seconds(2));
    }
    api::DeleteTaskRequest request;
    request.set_container_id(plan_.id);
    const auto removed = tasks<api::DeleteResponse>("Delete", request);
    if (removed.ok() || removed.code() == grpc::StatusCode::NOT_FOUND) return;
    std::this_thread::sleep_for(milliseconds(20));
  }
  throw std::runtime_error("the task of " + plan_.id + " does not go: " + last_error_);
}

void ContainerLife::begin(bool start_it) {
  ProcessLife init;
  if (!create() || (start_it && !start(init, ""))) {
    throw std::runtime_error("start " + plan_.id + ": " + last_error_);
  }
}

uint32_t ContainerLife::pid() {
  api::GetRequest request;
  request.set_container_id(plan_.id);
  const auto state = tasks<api::GetResponse>("Get", request);
  if (!state.ok()) throw std::runtime_error("ask for " + plan_.id + ": " + last_error_);
  return state.value.process().status() == containerd::v1::types::RUNNING
             ? state.value.process().pid()
             : 0;
}

uint32_t ContainerLife::await_burial() {
  ProcessLife init;
  wait_surely(init, "");
  const auto end = Clock::now() + kBurialPatience;
  api::GetRequest request;
  request.set_container_id(plan_.id);
  while (tasks<api::GetResponse>("Get", request).code() != grpc::StatusCode::NOT_FOUND) {
    if (Clock::now() > end) throw std::runtime_error("the task of " + plan_.id + " does not go");
    std::this_thread::sleep_for(milliseconds(20));
  }
  return init.waited.value_or(0);
}

uint32_t ContainerLife::finish() {
  ProcessLife init;
  if (!kill("", SIGTERM, false)) throw std::runtime_error(plan_.id + ": " + last_error_);
  wait_surely(init, "");
  if (!remove("")) throw std::runtime_error(plan_.id + ": " + last_error_);
  return init.waited.value_or(0);
}

}  // namespace berth::crash
