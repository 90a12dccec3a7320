#include "service.h"

#include <berth/fault.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "containerd/runtime/task/v3/shim.pb.h"
#include "log.h"

namespace berth::shim {

namespace task = containerd::task::v3;

struct Service::Method {
  std::string_view name;
  Status (Service::*run)(std::string_view request, std::string* out);
  bool blocks;  // for a worker
};

void Service::handle(ttrpc::Request request, ttrpc::Responder responder) {
  publisher_->retry_now();
  static constexpr std::array kMethods = {
      Method{"State", &Service::state, false},
      Method{"Create", &Service::create, true},
      Method{"Start", &Service::start, true},
      Method{"Delete", &Service::remove, true},
      Method{"Pids", &Service::pids, true},
      Method{"Pause", &Service::pause, true},
      Method{"Resume", &Service::resume, true},
      Method{"Checkpoint", &Service::checkpoint, true},
      Method{"Kill", &Service::kill, true},
      Method{"Exec", &Service::exec, false},
      Method{"ResizePty", &Service::resize_pty, false},
      Method{"CloseIO", &Service::close_io, false},
      Method{"Update", &Service::update, true},
      Method{"Stats", &Service::stats, true},
      Method{"Connect", &Service::connect, false},
  };
  if (request.service != "containerd.task.v2.Task" &&
      request.service != "containerd.task.v3.Task") {
    return responder.finish(unimplemented("service " + request.service));
  }
  if (request.method == "Wait") return wait(request.payload, responder);
  if (request.method == "Shutdown") return shutdown(request.payload, responder);
  const auto method = std::find_if(kMethods.begin(), kMethods.end(), [&](const Method& candidate) {
    return candidate.name == request.method;
  });
  if (method == kMethods.end()) {
    return responder.finish(unimplemented("method " + request.method));
  }
  const auto answer = [this, run = method->run](const std::string& payload,
                                                const ttrpc::Responder& to) {
    std::string out;
    const Status status = (this->*run)(payload, &out);
    to.finish(status, out);
  };
  if (!method->blocks) return answer(request.payload, responder);
  workers_.post(
      [answer, payload = std::move(request.payload), responder] { answer(payload, responder); });
}

Result<std::shared_ptr<Container>> Service::find(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = containers_.find(id);
  if (found == containers_.end()) return not_found("container not created: not found");
  return found->second;
}

Result<Service::Found> Service::find_locked(const std::string& id, const std::string& exec_id) {
  const auto found = containers_.find(id);
  if (found == containers_.end()) return not_found("container not created: not found");
  const auto& container = found->second;
  if (exec_id.empty()) return Found(container, container->init);
  const auto exec = container->execs.find(exec_id);
  if (exec == container->execs.end()) {
    return not_found("process does not exist " + exec_id + ": not found");
  }
  return Found(container, exec->second);
}

Result<Service::Found> Service::find(const std::string& id, const std::string& exec_id) {
  const std::lock_guard lock(mutex_);
  return find_locked(id, exec_id);
}

Status Service::connect(std::string_view bytes, std::string* out) {
  task::ConnectRequest request;
  BERTH_RETURN_IF_ERROR(parse(bytes, &request));
  task::ConnectResponse response;
  response.set_shim_pid(static_cast<uint32_t>(::getpid()));
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = containers_.find(request.id()); found != containers_.end()) {
      response.set_task_pid(static_cast<uint32_t>(found->second->init->pid));
    }
  }
  response.SerializeToString(out);
  return {};
}

Status Service::state(std::string_view bytes, std::string* out) {
  task::StateRequest request;
  BERTH_RETURN_IF_ERROR(parse(bytes, &request));
  task::StateResponse response;
  {
    const std::lock_guard lock(mutex_);
    auto found = find_locked(request.id(), request.exec_id());
    if (!found.ok()) return found.status();
    const auto& [container, process] = *found;
    using containerd::v1::types::Status;
    Status status = Status::CREATED;
    if (process->told) {
      status = Status::STOPPED;
    } else if (process->started) {
      status = container->paused && process == container->init ? Status::PAUSED : Status::RUNNING;
    }
    response.set_id(container->id);
    response.set_bundle(container->bundle);
    response.set_pid(static_cast<uint32_t>(process->pid));
    response.set_status(status);
    response.set_stdin(process->stdio_spec.in);
    response.set_stdout(process->stdio_spec.out);
    response.set_stderr(process->stdio_spec.err);
    response.set_terminal(process->stdio_spec.terminal);
    response.set_exec_id(process->exec_id);
    if (process->told && process->exit) {
      response.set_exit_status(process->exit->status);
      set_time(*process->exit, response.mutable_exited_at());
    }
  }
  response.SerializeToString(out);
  return {};
}

void Service::shutdown(std::string_view bytes, const ttrpc::Responder& responder) {
  task::ShutdownRequest request;
  if (const Status status = parse(bytes, &request); !status.ok()) return responder.finish(status);
  {
    const std::lock_guard lock(mutex_);
    if (!request.now() && busy_locked()) return responder.finish({});
  }
  BERTH_FAULT_POINT("shim.shutdown.begin");
  workers_.post([this, now = request.now(), responder] { leave(now, responder); });
}

// The socket stays until there is nothing left to tell: a daemon that is started meanwhile finds
// the shim, and does not take it for dead and tell in its place what it is about to tell itself.
void Service::leave(bool now, const ttrpc::Responder& responder) {
  constexpr int kFlushSeconds = 3;
  const bool flushed = publisher_->flush(kFlushSeconds);
  {
    const std::lock_guard lock(mutex_);
    if (!now && busy_locked()) return responder.finish({});  // a task of the pod came meanwhile
    leaving_ = true;
  }
  if (!flushed) log(Level::kWarning, "end with events that the daemon has not taken");
  BERTH_FAULT_POINT("shim.shutdown.flushed");
  ::unlink(settings_.socket.c_str());
  BERTH_FAULT_POINT("shim.shutdown.unlinked");
  responder.finish({});
  BERTH_FAULT_POINT("shim.shutdown.answered");
  settings_.end();
}

}  // namespace berth::shim
