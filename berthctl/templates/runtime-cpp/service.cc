#include "service.h"

#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <thread>

#include "containerd/events/task.pb.h"

namespace @ident@_plugin {

namespace events = containerd::events;
using berth::Status;

namespace {

template <typename Message>
berth::Result<Message> parsed(const std::string& payload) {
  Message message;
  if (!message.ParseFromString(payload)) return berth::invalid_argument("the request is no " + message.GetTypeName());
  return message;
}

std::string nothing() { return {}; }  // google.protobuf.Empty

void put_now(google::protobuf::Timestamp* out) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  out->set_seconds(now.tv_sec);
  out->set_nanos(static_cast<int32_t>(now.tv_nsec));
}

}  // namespace

void Service::handle(const berth::ttrpc::Request& request, const berth::ttrpc::Responder& responder) {
  if (request.service != "containerd.task.v2.Task" && request.service != "containerd.task.v3.Task") {
    responder.finish(berth::unimplemented("service " + request.service + " is not served: not implemented"));
    return;
  }
  if (request.method == "Wait") {
    if (const Status failed = wait(request.payload, responder); !failed.ok()) responder.finish(failed);
    return;
  }
  const auto answer = call(request.method, request.payload);
  responder.finish(answer.status(), answer.ok() ? *answer : std::string());
}

berth::Result<std::string> Service::call(const std::string& method, const std::string& payload) {
#define BERTH_DISPATCH(name, type, expression)                                 \
  if (method == name) {                                                        \
    BERTH_ASSIGN_OR_RETURN(const api::type request, parsed<api::type>(payload)); \
    return expression;                                                         \
  }
  BERTH_DISPATCH("Create", CreateTaskRequest, create(request))
  BERTH_DISPATCH("Start", StartRequest, start(request))
  BERTH_DISPATCH("Delete", DeleteRequest, remove(request))
  BERTH_DISPATCH("Exec", ExecProcessRequest, exec(request))
  BERTH_DISPATCH("State", StateRequest, state(request))
  BERTH_DISPATCH("Kill", KillRequest, kill(request))
  BERTH_DISPATCH("Pause", PauseRequest, pause(request.id(), true))
  BERTH_DISPATCH("Resume", ResumeRequest, pause(request.id(), false))
#undef BERTH_DISPATCH
  const std::lock_guard lock(mutex_);
  const auto first = tasks_.find("");
  const uint32_t pid = first == tasks_.end() ? 0 : static_cast<uint32_t>(first->second->process->pid());
  if (method == "Connect") {
    api::ConnectResponse response;
    response.set_shim_pid(static_cast<uint32_t>(::getpid()));
    response.set_task_pid(pid);
    return response.SerializeAsString();
  }
  if (method == "Pids") {
    api::PidsResponse response;
    if (pid != 0) response.add_processes()->set_pid(pid);
    return response.SerializeAsString();
  }
  if (method == "CloseIO") {
    BERTH_ASSIGN_OR_RETURN(const auto request, parsed<api::CloseIORequest>(payload));
    BERTH_ASSIGN_OR_RETURN(const TaskPointer task, find(request.id(), request.exec_id()));
    if (request.stdin() && task->process) task->process->close_input();
    return nothing();
  }
  if (method == "Shutdown") {
    if (!tasks_.empty()) return nothing();  // not yet
    std::thread([] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));  // for the answer
      ::kill(::getpid(), SIGTERM);
    }).detach();
    return nothing();
  }
  return berth::unimplemented("method " + method + " is not served: not implemented");
}

berth::Result<Service::TaskPointer> Service::find(const std::string& id, const std::string& exec) {
  const auto found = tasks_.find(exec);
  if (id != id_ || found == tasks_.end()) return berth::not_found("process " + id + " " + exec + ": not found");
  return found->second;
}

berth::Result<std::string> Service::create(const api::CreateTaskRequest& request) {
  const std::lock_guard lock(mutex_);
  if (request.terminal()) return berth::unimplemented("this runtime has no terminals");
  if (request.id() != id_) return berth::invalid_argument("this shim is for container " + id_);
  if (tasks_.contains("")) return berth::already_exists("container " + id_ + ": already exists");
  auto task = std::make_shared<Task>();
  BERTH_RETURN_IF_ERROR(read_bundle(request.bundle(), &task->wanted));
  // The root file system first, then what is mounted into it.
  std::vector<MountPoint> mounts;
  for (const auto& mount : request.rootfs()) {
    MountPoint point{mount.type(), mount.source(), "", 0, ""};
    for (const std::string& option : mount.options()) {
      if (option == "bind" || option == "rbind") {
        point.flags |= MS_BIND | MS_REC;
      } else if (option != "rw") {
        point.data += (point.data.empty() ? "" : ",") + option;
      }
    }
    mounts.push_back(point);
  }
  task->wanted.mounts.insert(task->wanted.mounts.begin(), mounts.begin(), mounts.end());
  task->wanted.in = request.stdin();
  task->wanted.out = request.stdout();
  task->wanted.err = request.stderr();
  BERTH_ASSIGN_OR_RETURN(Process process, Process::make(task->wanted));
  task->process = std::make_unique<Process>(std::move(process));
  bundle_ = request.bundle();
  // For "delete", should this shim be killed.
  std::ofstream(bundle_ + "/init.pid") << task->process->pid();
  tasks_[""] = task;
  events::TaskCreate event;
  event.set_container_id(id_);
  event.set_bundle(bundle_);
  event.set_pid(static_cast<uint32_t>(task->process->pid()));
  publish_("/tasks/create", event);
  watch("", task);
  api::CreateTaskResponse response;
  response.set_pid(event.pid());
  return response.SerializeAsString();
}

// One thread per process, which tells of its end.
void Service::watch(const std::string& exec, const TaskPointer& task) {
  std::thread([this, exec, task] {
    const pid_t pid = task->process->pid();
    wait_until_end(pid);
    const std::lock_guard lock(mutex_);
    if (exec.empty()) (void)::kill(-pid, SIGKILL);  // what it leaves behind
    const uint32_t code = wait_for(pid);
    task->ended = true;
    changed_.notify_all();
    task->code = code;
    put_now(&task->ended_at);
    events::TaskExit event;
    event.set_container_id(id_);
    event.set_id(exec.empty() ? id_ : exec);
    event.set_pid(static_cast<uint32_t>(pid));
    event.set_exit_status(code);
    *event.mutable_exited_at() = task->ended_at;
    publish_("/tasks/exit", event);
    api::WaitResponse response;
    response.set_exit_status(code);
    *response.mutable_exited_at() = task->ended_at;
    for (const auto& one : task->waiting) one.finish({}, response.SerializeAsString());
    task->waiting.clear();
  }).detach();
}

berth::Result<std::string> Service::start(const api::StartRequest& request) {
  std::unique_lock lock(mutex_);
  BERTH_ASSIGN_OR_RETURN(const TaskPointer task, find(request.id(), request.exec_id()));
  if (task->started || task->ended) return berth::failed_precondition("process " + request.exec_id() + " was started");
  const bool first = request.exec_id().empty();
  if (!first) {
    BERTH_ASSIGN_OR_RETURN(Process process, Process::make(task->wanted));
    task->process = std::make_unique<Process>(std::move(process));
    watch(request.exec_id(), task);
  }
  if (const Status failed = task->process->start(); !failed.ok()) {
    changed_.wait(lock, [&] { return task->ended; });  // whoever hears of it may delete it
    return failed;
  }
  task->started = true;
  const auto pid = static_cast<uint32_t>(task->process->pid());
  if (first) {
    events::TaskStart event;
    event.set_container_id(id_);
    event.set_pid(pid);
    publish_("/tasks/start", event);
  } else {
    events::TaskExecStarted event;
    event.set_container_id(id_);
    event.set_exec_id(request.exec_id());
    event.set_pid(pid);
    publish_("/tasks/exec-started", event);
  }
  api::StartResponse response;
  response.set_pid(pid);
  return response.SerializeAsString();
}

berth::Result<std::string> Service::remove(const api::DeleteRequest& request) {
  const std::lock_guard lock(mutex_);
  BERTH_ASSIGN_OR_RETURN(const TaskPointer task, find(request.id(), request.exec_id()));
  if (task->process && !task->ended) return berth::failed_precondition("cannot delete a running process " + request.exec_id());
  api::DeleteResponse response;
  if (task->process) response.set_pid(static_cast<uint32_t>(task->process->pid()));
  response.set_exit_status(task->code);
  *response.mutable_exited_at() = task->ended_at;
  tasks_.erase(request.exec_id());
  if (request.exec_id().empty()) {
    events::TaskDelete event;
    event.set_container_id(id_);
    event.set_pid(response.pid());
    event.set_exit_status(task->code);
    *event.mutable_exited_at() = task->ended_at;
    publish_("/tasks/delete", event);
  }
  return response.SerializeAsString();
}

berth::Result<std::string> Service::exec(const api::ExecProcessRequest& request) {
  const std::lock_guard lock(mutex_);
  BERTH_ASSIGN_OR_RETURN(const TaskPointer first, find(request.id(), ""));
  if (request.exec_id().empty()) return berth::invalid_argument("an exec needs an id");
  if (tasks_.contains(request.exec_id())) return berth::already_exists("exec " + request.exec_id() + ": already exists");
  if (first->ended || !first->started) return berth::failed_precondition("container " + id_ + " does not run");
  auto task = std::make_shared<Task>();
  BERTH_RETURN_IF_ERROR(read_process(request.spec().value(), &task->wanted));
  task->wanted.root = "/proc/" + std::to_string(first->process->pid()) + "/root";
  task->wanted.in = request.stdin();
  task->wanted.out = request.stdout();
  task->wanted.err = request.stderr();
  tasks_[request.exec_id()] = task;
  events::TaskExecAdded event;
  event.set_container_id(id_);
  event.set_exec_id(request.exec_id());
  publish_("/tasks/exec-added", event);
  return nothing();
}

berth::Result<std::string> Service::state(const api::StateRequest& request) {
  namespace types = containerd::v1::types;
  const std::lock_guard lock(mutex_);
  BERTH_ASSIGN_OR_RETURN(const TaskPointer task, find(request.id(), request.exec_id()));
  api::StateResponse response;
  response.set_id(id_);
  response.set_exec_id(request.exec_id());
  response.set_bundle(bundle_);
  if (task->process) response.set_pid(static_cast<uint32_t>(task->process->pid()));
  response.set_status(task->ended     ? types::STOPPED
                      : task->paused  ? types::PAUSED
                      : task->started ? types::RUNNING
                                      : types::CREATED);
  response.set_stdin(task->wanted.in);
  response.set_stdout(task->wanted.out);
  response.set_stderr(task->wanted.err);
  response.set_exit_status(task->code);
  *response.mutable_exited_at() = task->ended_at;
  return response.SerializeAsString();
}

berth::Result<std::string> Service::kill(const api::KillRequest& request) {
  const std::lock_guard lock(mutex_);
  BERTH_ASSIGN_OR_RETURN(const TaskPointer task, find(request.id(), request.exec_id()));
  if (!task->process || task->ended) return berth::not_found("process " + request.exec_id() + " has ended: not found");
  const pid_t pid = task->process->pid();
  const auto signal = static_cast<int>(request.signal());
  // Each process leads a group; SIGKILL and "all" are for all of it.
  if (::kill(request.all() || signal == SIGKILL ? -pid : pid, signal) != 0) return berth::errno_status(errno, "kill");
  return nothing();
}

berth::Result<std::string> Service::pause(const std::string& id, bool paused) {
  const std::lock_guard lock(mutex_);
  BERTH_ASSIGN_OR_RETURN(const TaskPointer task, find(id, ""));
  if (task->ended || !task->started || task->paused == paused) return berth::failed_precondition("container " + id_ + " is not in the state for it");
  if (::kill(-task->process->pid(), paused ? SIGSTOP : SIGCONT) != 0) return berth::errno_status(errno, "pause or resume");
  task->paused = paused;
  events::TaskPaused event;  // TaskResumed has the same field
  event.set_container_id(id_);
  if (paused) {
    publish_("/tasks/paused", event);
  } else {
    events::TaskResumed resumed;
    resumed.set_container_id(id_);
    publish_("/tasks/resumed", resumed);
  }
  return nothing();
}

Status Service::wait(const std::string& payload, const berth::ttrpc::Responder& responder) {
  BERTH_ASSIGN_OR_RETURN(const auto request, parsed<api::WaitRequest>(payload));
  const std::lock_guard lock(mutex_);
  BERTH_ASSIGN_OR_RETURN(const TaskPointer task, find(request.id(), request.exec_id()));
  if (!task->ended) {
    task->waiting.push_back(responder);
    return {};
  }
  api::WaitResponse response;
  response.set_exit_status(task->code);
  *response.mutable_exited_at() = task->ended_at;
  responder.finish({}, response.SerializeAsString());
  return {};
}

}  // namespace @ident@_plugin
