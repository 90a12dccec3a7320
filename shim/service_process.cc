// Methods that concern one process.
#include <berth/fault.h>
#include <signal.h>

#include <cstdlib>
#include <ctime>

#include "containerd/events/task.pb.h"
#include "containerd/runtime/task/v3/shim.pb.h"
#include "files.h"
#include "leftovers.h"
#include "service.h"

namespace berth::shim {

namespace task = containerd::task::v3;
namespace events = containerd::events;

namespace {

int64_t boot_time_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

}  // namespace

Status Service::exec(std::string_view bytes, std::string*) {
  task::ExecProcessRequest request;
  BERTH_RETURN_IF_ERROR(parse(bytes, &request));
  if (request.exec_id().empty()) return invalid_argument("add a process: it has no id");
  const std::lock_guard lock(mutex_);
  auto found = find_locked(request.id(), "");
  if (!found.ok()) return found.status();
  Container& container = *found->first;
  if (container.execs.contains(request.exec_id())) {
    return already_exists("id " + request.exec_id() + ": already exists");
  }
  if (container.init->exit) return unknown_error("cannot exec in a stopped state");
  if (container.paused) return unknown_error("cannot exec in a paused state");
  auto process = std::make_shared<Process>();
  process->exec_id = request.exec_id();
  process->spec = request.spec().value();
  process->stdio_spec = {request.stdin(), request.stdout(), request.stderr(), request.terminal()};
  container.execs[request.exec_id()] = std::move(process);
  events::TaskExecAdded event;
  event.set_container_id(request.id());
  event.set_exec_id(request.exec_id());
  BERTH_FAULT_POINT("shim.exec.added");
  publish("/tasks/exec-added", "containerd.events.TaskExecAdded", event);
  return {};
}

Status Service::restore(Container& container, Process& process, Stdio& stdio) {
  const RuntimeOptions& options = container.runtime->options();
  const std::string pid_file = container.bundle + "/init.pid";
  std::vector<std::string> arguments = {
      "restore",
      "--bundle",
      container.bundle,
      "--image-path",
      options.criu_image_path.empty() ? process.checkpoint : options.criu_image_path,
      "--work-path",
      options.criu_work_path.empty() ? container.bundle + "/work-restore" : options.criu_work_path,
      "--detach",
      "--pid-file",
      pid_file};
  if (const std::string console = stdio.console_path(); !console.empty()) {
    arguments.insert(arguments.end(), {"--console-socket", console});
  }
  if (options.no_pivot_root) arguments.emplace_back("--no-pivot");
  arguments.push_back(container.id);
  BERTH_RETURN_IF_ERROR(
      container.runtime->run("OCI runtime restore failed", std::move(arguments),
                             {stdio.child_in(), stdio.child_out(), stdio.child_err()}));
  BERTH_RETURN_IF_ERROR(stdio.begin());
  BERTH_ASSIGN_OR_RETURN(const std::string text, read_file(pid_file));
  const pid_t pid = std::atoi(text.c_str());
  auto cgroup = cgroup_of(pid);
  const std::lock_guard lock(mutex_);
  if (cgroup.ok()) container.cgroup = *std::move(cgroup);
  container.record->started("", pid);
  adopt_locked(container.init, pid);
  return {};
}

Status Service::start_init(Container& container, Process& process) {
  if (!process.checkpoint.empty()) {
    begin_spawn();
    const Cleanup spawned([this] { end_spawn(); });
    BERTH_RETURN_IF_ERROR(restore(container, process, *process.stdio));
  } else if (!direct_start(container.direct, container.runtime->state_of(container.id), [&] {
               const std::lock_guard lock(mutex_);
               return process.exit.has_value();
             })) {
    const Status status =
        container.runtime->run("OCI runtime start failed", {"start", container.id});
    // One that was killed may have done its work before.
    const bool done =
        status.code() == Code::kAborted && container.runtime->state(container.id) == "running";
    if (!status.ok() && !done) return status;
  }
  BERTH_FAULT_POINT("shim.start.made");
  const std::lock_guard lock(mutex_);
  process.started = true;
  events::TaskStart event;
  event.set_container_id(container.id);
  event.set_pid(static_cast<uint32_t>(process.pid));
  publish("/tasks/start", "containerd.events.TaskStart", event);
  BERTH_FAULT_POINT("shim.start.published");
  return {};
}

void Service::end_strays(const Container& container, int64_t since_ns) {
  std::set<pid_t> known;
  {
    std::unique_lock lock(mutex_);
    ++judging_;
    spawned_.notify_all();
    // What another command is about to name looks like what this one has left.
    spawned_.wait(lock, [this] { return spawning_ == judging_; });
    for (const auto& [pid, process] : by_pid_) known.insert(pid);
  }
  berth::shim::end_strays(container.cgroup, since_ns, known);
  const std::lock_guard lock(mutex_);
  --judging_;
  spawned_.notify_all();
}

Status Service::start_exec(Container& container, Process& process) {
  const RuntimeOptions& options = container.runtime->options();
  const std::string name = "exec-" + std::to_string(++names_);
  const std::string pid_file = container.bundle + "/" + name + ".pid";
  BERTH_ASSIGN_OR_RETURN(const UniqueFd spec, memory_file("process", process.spec));
  BERTH_ASSIGN_OR_RETURN(const auto stdio,
                         Stdio::open(loop_, &children_, process.stdio_spec,
                                     {settings_.ns, container.id, container.bundle, name,
                                      options.io_uid, options.io_gid}));
  Cleanup close_streams([&] { stdio->close(); });
  BERTH_FAULT_POINT("shim.exec.streams");
  std::vector<std::string> arguments = {
      "exec",
      "--process",
      "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(spec.get()),
      "--detach",
      "--pid-file",
      pid_file};
  if (const std::string console = stdio->console_path(); !console.empty()) {
    arguments.insert(arguments.end(), {"--console-socket", console});
  }
  arguments.push_back(container.id);
  begin_spawn();
  const Cleanup spawned([this] { end_spawn(); });
  const Cleanup remove_pid_file([&] { ::unlink(pid_file.c_str()); });
  const int64_t began = boot_time_ns();
  const Status ran =
      container.runtime->run("OCI runtime exec failed", std::move(arguments),
                             {stdio->child_in(), stdio->child_out(), stdio->child_err()});
  const auto text = read_file(pid_file);
  const pid_t pid = text.ok() ? std::atoi(text->c_str()) : 0;
  // The runtime names the process last: one that was killed later has done its work.
  Status status = ran.code() == Code::kAborted && pid > 0 ? Status() : ran;
  if (status.ok()) status = stdio->begin();
  if (status.ok()) status = text.status();
  if (!status.ok()) {
    end_strays(container, began);
    return status;
  }
  BERTH_FAULT_POINT("shim.exec.made");
  close_streams.dismiss();
  const std::lock_guard lock(mutex_);
  process.stdio = stdio;
  // A client with a short input may be done before its process has begun.
  if (process.input_closed) stdio->close_input();
  process.started = true;
  process.spec = std::string();
  events::TaskExecStarted event;
  event.set_container_id(container.id);
  event.set_exec_id(process.exec_id);
  event.set_pid(static_cast<uint32_t>(pid));
  container.record->started(process.exec_id, pid);
  publish("/tasks/exec-started", "containerd.events.TaskExecStarted", event);
  adopt_locked(container.execs[process.exec_id], pid);
  BERTH_FAULT_POINT("shim.exec.published");
  return {};
}

Status Service::start(std::string_view bytes, std::string* out) {
  task::StartRequest request;
  BERTH_RETURN_IF_ERROR(parse(bytes, &request));
  BERTH_ASSIGN_OR_RETURN(const Found found, find(request.id(), request.exec_id()));
  const auto& [container, process] = found;
  const std::lock_guard operation(process->operation);
  BERTH_FAULT_POINT("shim.start.begin");
  const bool is_exec = process != container->init;
  bool too_late = false;
  {
    const std::lock_guard lock(mutex_);
    if (process->removed) return not_found("process does not exist: not found");
    if (process->exit) return unknown_error("cannot start a stopped process");
    if (process->started) return unknown_error("cannot start a running process");
    process->starting = true;
    too_late = is_exec && container->init->exit;
  }
  const Status status = too_late  ? unknown_error("cannot start a stopped process")
                        : is_exec ? start_exec(*container, *process)
                                  : start_init(*container, *process);
  task::StartResponse response;
  {
    const std::lock_guard lock(mutex_);
    process->starting = false;
    response.set_pid(static_cast<uint32_t>(process->pid));
    if (!status.ok() && is_exec) {
      // Nothing has run, so no event tells of an end; who waits must not wait for ever.
      process->exit = exit_now(0, 255);
      process->told = true;
      task::WaitResponse ended;
      ended.set_exit_status(process->exit->status);
      set_time(*process->exit, ended.mutable_exited_at());
      for (const auto& waiter : process->waiters) waiter.finish({}, ended.SerializeAsString());
      process->waiters.clear();
    }
  }
  settle_soon(container);
  response.SerializeToString(out);
  return status;
}

Status Service::kill(std::string_view bytes, std::string*) {
  task::KillRequest request;
  BERTH_RETURN_IF_ERROR(parse(bytes, &request));
  BERTH_ASSIGN_OR_RETURN(const Found found, find(request.id(), request.exec_id()));
  const auto& [container, process] = found;
  const bool is_exec = process != container->init;
  BERTH_FAULT_POINT("shim.kill.begin");
  {
    const std::lock_guard lock(mutex_);
    if (process->exit) return not_found("process already finished: not found");
    if (process->pid == 0) {
      return failed_precondition("process not created: failed precondition");
    }
    // A child that has not been reaped keeps its pid, so this cannot hit another process. A frozen
    // one is thawed by the runtime only.
    const bool direct = is_exec || (container->runtime->native() && !container->paused);
    if (direct && !request.all()) {
      if (::kill(process->pid, static_cast<int>(request.signal())) == 0) {
        BERTH_FAULT_POINT("shim.kill.done");
        return {};
      }
      if (errno == ESRCH) return not_found("process already finished: not found");
      return unknown_error(errno_status(errno, "unknown error after kill: signal " +
                                                   std::to_string(request.signal()))
                               .message());
    }
  }
  return container->runtime->kill(container->id, request.signal(), request.all());
}

Status Service::resize_pty(std::string_view bytes, std::string*) {
  task::ResizePtyRequest request;
  BERTH_RETURN_IF_ERROR(parse(bytes, &request));
  const std::lock_guard lock(mutex_);
  auto found = find_locked(request.id(), request.exec_id());
  if (!found.ok()) return found.status();
  const auto& stdio = found->second->stdio;
  return stdio == nullptr ? Status() : stdio->resize(request.width(), request.height());
}

Status Service::close_io(std::string_view bytes, std::string*) {
  task::CloseIORequest request;
  BERTH_RETURN_IF_ERROR(parse(bytes, &request));
  const std::lock_guard lock(mutex_);
  auto found = find_locked(request.id(), request.exec_id());
  if (!found.ok()) return found.status();
  if (!request.stdin()) return {};
  Process& process = *found->second;
  process.input_closed = true;
  if (process.stdio != nullptr) process.stdio->close_input();
  return {};
}

Status Service::remove(std::string_view bytes, std::string* out) {
  constexpr int kDrainSeconds = 2;
  task::DeleteRequest request;
  BERTH_RETURN_IF_ERROR(parse(bytes, &request));
  BERTH_ASSIGN_OR_RETURN(const Found found, find(request.id(), request.exec_id()));
  const auto& [container, process] = found;
  const std::lock_guard operation(process->operation);
  BERTH_FAULT_POINT("shim.delete.begin");
  const bool is_exec = process != container->init;
  std::shared_ptr<Stdio> stdio;
  {
    const std::lock_guard lock(mutex_);
    if (process->removed) return not_found("process does not exist: not found");
    if (is_exec && process->started && !process->told) {
      return unknown_error("cannot delete a running process");
    }
    stdio = process->stdio;
  }
  if (is_exec) {
    if (stdio != nullptr) stdio->drain(kDrainSeconds);
  } else {
    BERTH_RETURN_IF_ERROR(remove_init(found));
  }
  if (stdio != nullptr) stdio->close();
  task::DeleteResponse response;
  const std::lock_guard lock(mutex_);
  const Exit exit = process->exit.value_or(Exit{});
  process->removed = true;
  response.set_pid(static_cast<uint32_t>(process->pid));
  response.set_exit_status(exit.status);
  if (process->exit) set_time(exit, response.mutable_exited_at());
  for (const auto& waiter : process->waiters) {
    waiter.finish(not_found("process does not exist: not found"));
  }
  process->waiters.clear();
  if (is_exec) {
    container->execs.erase(process->exec_id);
    container->record->removed(process->exec_id);
  } else {
    for (const auto& [id, exec] : container->execs) {
      if (exec->stdio != nullptr) exec->stdio->close();
      by_pid_.erase(exec->pid);
    }
    if (container->oom != nullptr) {
      loop_->post([oom = std::move(container->oom)] { oom->stop(); });
    }
    containers_.erase(container->id);
    events::TaskDelete event;
    event.set_container_id(container->id);
    event.set_pid(response.pid());
    event.set_exit_status(exit.status);
    if (process->exit) set_time(exit, event.mutable_exited_at());
    publish("/tasks/delete", "containerd.events.TaskDelete", event,
            [record = container->record] { record->deleted(); });
    BERTH_FAULT_POINT("shim.delete.published");
  }
  response.SerializeToString(out);
  return {};
}

}  // namespace berth::shim
