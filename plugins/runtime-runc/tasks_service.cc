#include "tasks_service.h"

#include <berth/fault.h>

#include "containerd/types/introspection.pb.h"

namespace berth::runtime {
namespace {

using google::protobuf::Empty;

void fill_process(const shim_api::StateResponse& state, const std::string& id,
                  const std::string& exec_id, containerd::v1::types::Process* process) {
  process->set_container_id(id);
  process->set_id(exec_id.empty() ? id : exec_id);
  process->set_pid(state.pid());
  process->set_status(state.status());
  process->set_stdin(state.stdin());
  process->set_stdout(state.stdout());
  process->set_stderr(state.stderr());
  process->set_terminal(state.terminal());
  process->set_exit_status(state.exit_status());
  *process->mutable_exited_at() = state.exited_at();
}

}  // namespace

Status gone_is_not_found(const Status& status, const std::string& id) {
  return is_closed(status) ? not_found("task " + id + " not found: its shim is gone: not found")
                           : status;
}

Status TasksService::Create(Context& context, const tasks_api::CreateTaskRequest& request,
                            tasks_api::CreateTaskResponse* response) {
  return runtime_->create(context, request, response);
}

Status TasksService::Start(Context& context, const tasks_api::StartRequest& request,
                           tasks_api::StartResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::shared_ptr<Task> task,
                         runtime_->find(context, request.container_id()));
  shim_api::StartRequest start;
  start.set_id(request.container_id());
  start.set_exec_id(request.exec_id());
  shim_api::StartResponse started;
  BERTH_FAULT_POINT("daemon.start.begin");
  BERTH_RETURN_IF_ERROR(
      gone_is_not_found(with_state_code(task->shim()->call(context, "Start", start, &started)),
                        request.container_id()));
  BERTH_FAULT_POINT("daemon.start.done");
  if (request.exec_id().empty() && started.pid() != 0) task->set_pid(started.pid());
  response->set_pid(started.pid());
  return {};
}

Status TasksService::Delete(Context& context, const tasks_api::DeleteTaskRequest& request,
                            tasks_api::DeleteResponse* response) {
  return runtime_->remove(context, request.container_id(), response);
}

Status TasksService::DeleteProcess(Context& context, const tasks_api::DeleteProcessRequest& request,
                                   tasks_api::DeleteResponse* response) {
  // Without an exec id the shim would delete the task itself, and nobody its bundle.
  if (request.exec_id().empty())
    return invalid_argument("delete a process: exec id cannot be empty");
  shim_api::DeleteRequest remove;
  remove.set_id(request.container_id());
  remove.set_exec_id(request.exec_id());
  shim_api::DeleteResponse removed;
  BERTH_RETURN_IF_ERROR(
      with_state_code(pass(context, request.container_id(), "Delete", remove, &removed)));
  response->set_id(request.exec_id());
  response->set_pid(removed.pid());
  response->set_exit_status(removed.exit_status());
  *response->mutable_exited_at() = removed.exited_at();
  return {};
}

Status TasksService::Get(Context& context, const tasks_api::GetRequest& request,
                         tasks_api::GetResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::shared_ptr<Task> task,
                         runtime_->find(context, request.container_id()));
  shim_api::StateResponse state;
  BERTH_RETURN_IF_ERROR(gone_is_not_found(task->shim()->state(context, request.exec_id(), &state),
                                          request.container_id()));
  fill_process(state, request.container_id(), request.exec_id(), response->mutable_process());
  return {};
}

Status TasksService::Kill(Context& context, const tasks_api::KillRequest& request,
                          Empty* response) {
  shim_api::KillRequest kill;
  kill.set_id(request.container_id());
  kill.set_exec_id(request.exec_id());
  kill.set_signal(request.signal());
  kill.set_all(request.all());
  BERTH_FAULT_POINT("daemon.kill.begin");
  const Status status = pass(context, request.container_id(), "Kill", kill, response);
  BERTH_FAULT_POINT("daemon.kill.done");
  return status;
}

Status TasksService::Exec(Context& context, const tasks_api::ExecProcessRequest& request,
                          Empty* response) {
  if (request.exec_id().empty()) return invalid_argument("exec id cannot be empty");
  BERTH_RETURN_IF_ERROR(validate_identifier("exec id", request.exec_id()));
  shim_api::ExecProcessRequest exec;
  exec.set_id(request.container_id());
  exec.set_exec_id(request.exec_id());
  exec.set_terminal(request.terminal());
  exec.set_stdin(request.stdin());
  exec.set_stdout(request.stdout());
  exec.set_stderr(request.stderr());
  *exec.mutable_spec() = request.spec();
  BERTH_FAULT_POINT("daemon.exec.begin");
  const Status status = pass(context, request.container_id(), "Exec", exec, response);
  BERTH_FAULT_POINT("daemon.exec.done");
  return status;
}

Status TasksService::ResizePty(Context& context, const tasks_api::ResizePtyRequest& request,
                               Empty* response) {
  shim_api::ResizePtyRequest resize;
  resize.set_id(request.container_id());
  resize.set_exec_id(request.exec_id());
  resize.set_width(request.width());
  resize.set_height(request.height());
  return pass(context, request.container_id(), "ResizePty", resize, response);
}

Status TasksService::CloseIO(Context& context, const tasks_api::CloseIORequest& request,
                             Empty* response) {
  if (!request.stdin()) return runtime_->find(context, request.container_id()).status();
  shim_api::CloseIORequest close;
  close.set_id(request.container_id());
  close.set_exec_id(request.exec_id());
  close.set_stdin(true);
  return pass(context, request.container_id(), "CloseIO", close, response);
}

Status TasksService::Pause(Context& context, const tasks_api::PauseTaskRequest& request,
                           Empty* response) {
  shim_api::PauseRequest pause;
  pause.set_id(request.container_id());
  return pass(context, request.container_id(), "Pause", pause, response);
}

Status TasksService::Resume(Context& context, const tasks_api::ResumeTaskRequest& request,
                            Empty* response) {
  shim_api::ResumeRequest resume;
  resume.set_id(request.container_id());
  return pass(context, request.container_id(), "Resume", resume, response);
}

Status TasksService::ListPids(Context& context, const tasks_api::ListPidsRequest& request,
                              tasks_api::ListPidsResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::shared_ptr<Task> task,
                         runtime_->find(context, request.container_id()));
  shim_api::PidsRequest ask;
  ask.set_id(request.container_id());
  shim_api::PidsResponse pids;
  BERTH_RETURN_IF_ERROR(gone_is_not_found(
      task->shim()->call(context, "Pids", ask, &pids, runtime_->settings().timeouts.state),
      request.container_id()));
  response->mutable_processes()->Swap(pids.mutable_processes());
  return {};
}

Status TasksService::Update(Context& context, const tasks_api::UpdateTaskRequest& request,
                            Empty* response) {
  shim_api::UpdateTaskRequest update;
  update.set_id(request.container_id());
  *update.mutable_resources() = request.resources();
  *update.mutable_annotations() = request.annotations();
  return pass(context, request.container_id(), "Update", update, response);
}

std::function<void()> TasksService::wait(const Context& context,
                                         const tasks_api::WaitRequest& request, WaitDone done) {
  auto found = runtime_->find(context, request.container_id());
  if (!found.ok()) {
    done(found.status(), {});
    return {};
  }
  const std::shared_ptr<Task> task = *found;
  if (request.exec_id().empty()) {
    const auto id = task->when_exited([done](const Status& status, const ExitStatus& exit) {
      tasks_api::WaitResponse response;
      response.set_exit_status(exit.status);
      response.mutable_exited_at()->set_seconds(exit.seconds);
      response.mutable_exited_at()->set_nanos(exit.nanos);
      done(status, response);
    });
    if (id == 0) return {};
    return [task, id, done] {
      if (task->forget(id))
        done(cancelled("wait for task " + task->key().id + ": context canceled"), {});
    };
  }
  shim_api::WaitRequest ask;
  ask.set_id(request.container_id());
  ask.set_exec_id(request.exec_id());
  const auto call = task->shim()->call_async<shim_api::WaitResponse>(
      context.detached(), "Wait", ask, std::chrono::nanoseconds::max(),
      [task, id = request.exec_id(), done](const Status& status,
                                           const shim_api::WaitResponse& waited) {
        tasks_api::WaitResponse response;
        response.set_exit_status(waited.exit_status());
        *response.mutable_exited_at() = waited.exited_at();
        if (!is_closed(status)) return done(status, response);
        // With the shim dies what it ran.
        task->when_exited([task, id, done](const Status& failed, const ExitStatus& init) {
          const ExitStatus exit =
              task->exec_end(id).value_or(ExitStatus{0, 128 + 9, init.seconds, init.nanos});
          tasks_api::WaitResponse killed;
          killed.set_exit_status(exit.status);
          killed.mutable_exited_at()->set_seconds(exit.seconds);
          killed.mutable_exited_at()->set_nanos(exit.nanos);
          done(failed, killed);
        });
      });
  return [task, call] { task->shim()->cancel(call); };
}

void TasksService::WaitCall(ServerCall call) {
  tasks_api::WaitRequest request;
  if (const Status parsed = call.parse_request(&request); !parsed.ok()) return call.finish(parsed);
  // The call, the way to give up, and which of answer and cancellation came first.
  struct Waiting {
    explicit Waiting(ServerCall served) : call(std::move(served)) {}
    std::mutex mutex;
    ServerCall call;
    bool answered = false;
    bool cancelled = false;
    std::function<void()> give_up;
  };
  const Context context = call.context();
  const auto waiting = std::make_shared<Waiting>(std::move(call));
  // Runs before finish() has returned or never, and who calls finish() holds `waiting`: the pointer
  // is good when it is used.
  waiting->call.on_cancel(
      [](void* raw) {
        auto* self = static_cast<Waiting*>(raw);
        std::function<void()> run;
        {
          const std::lock_guard lock(self->mutex);
          self->cancelled = true;
          run.swap(self->give_up);
        }
        if (run) run();
      },
      waiting.get());
  auto give_up = wait(context, request,
                      [waiting](const Status& status, const tasks_api::WaitResponse& response) {
                        std::function<void()> dropped;  // it holds `waiting`
                        {
                          const std::lock_guard lock(waiting->mutex);
                          if (waiting->answered) return;
                          waiting->answered = true;
                          dropped.swap(waiting->give_up);
                        }
                        waiting->call.finish(status, response);
                      });
  {
    const std::lock_guard lock(waiting->mutex);
    if (waiting->answered) return;
    if (!waiting->cancelled) {
      waiting->give_up = std::move(give_up);
      return;
    }
  }
  if (give_up) give_up();
}

Status RuntimeInfoService::PluginInfo(Context& /*context*/,
                                      const plugin::v1::PluginInfoRequest& request,
                                      plugin::v1::PluginInfoResponse* response) {
  containerd::types::RuntimeRequest ask;
  const std::string& url = request.options().type_url();
  if (!url.ends_with("containerd.types.RuntimeRequest") ||
      !ask.ParseFromString(request.options().value())) {
    return unimplemented("describe a runtime: options of type \"" + url +
                         "\" instead of containerd.types.RuntimeRequest: not implemented");
  }
  auto binary = runtime_->launcher().resolve(ask.runtime_path());
  if (!binary.ok()) return binary.status().with_context("failed to resolve runtime path");
  const std::string options = ask.has_options() ? ask.options().SerializeAsString() : std::string();
  BERTH_ASSIGN_OR_RETURN(std::string info, runtime_->launcher().info(*binary, options));
  response->mutable_extra()->set_type_url("containerd.types.RuntimeInfo");
  response->mutable_extra()->set_value(std::move(info));
  return {};
}

}  // namespace berth::runtime
