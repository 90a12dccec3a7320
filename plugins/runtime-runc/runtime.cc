// How a task ends: by a client's wish, or because its shim is gone.
#include "runtime.h"

#include "containerd/events/task.pb.h"

namespace berth::runtime {
namespace {

ExitStatus to_exit(uint32_t pid, uint32_t status, const google::protobuf::Timestamp& at) {
  return {pid, status, at.seconds(), at.nanos()};
}

void set_timestamp(const ExitStatus& exit, google::protobuf::Timestamp* at) {
  at->set_seconds(exit.seconds);
  at->set_nanos(exit.nanos);
}

}  // namespace

TaskRuntime::~TaskRuntime() {
  stop(ttrpc::monotonic_ns());
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return running_ == 0; });
}

void TaskRuntime::stop(int64_t deadline_ns) {
  stopping_ = true;
  {
    std::unique_lock lock(mutex_);
    for (int64_t left = 0; running_ > 0 && (left = deadline_ns - ttrpc::monotonic_ns()) > 0;) {
      idle_.wait_for(lock, std::chrono::nanoseconds(left));
    }
  }
  for (const auto& task : table_.list("")) {
    task->fail_waiters(unavailable("the daemon is stopping"));
    task->shim()->close();
  }
}

bool TaskRuntime::run(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    ++running_;
  }
  const auto done = [this] {
    const std::lock_guard lock(mutex_);
    --running_;
    idle_.notify_all();
  };
  if (peers_.spawn([work = std::move(work), done]() mutable {
        work();
        work = nullptr;  // what it owns uses this object
        done();
      })) {
    return true;
  }
  done();
  return false;
}

Result<std::shared_ptr<Task>> TaskRuntime::find(const Context& context,
                                                const std::string& id) const {
  BERTH_ASSIGN_OR_RETURN(std::string ns, context.require_ns());
  return table_.find({std::move(ns), id});
}

void TaskRuntime::watch(const std::shared_ptr<Task>& task) {
  task->shim()->on_close([this, weak = std::weak_ptr(task)] {
    const auto dead = weak.lock();
    if (dead == nullptr || stopping_ || !dead->claim_end()) return;
    if (!run([this, dead] { bury(*dead); })) {
      log(LogLevel::kError, "clean up after the shim of task " + dead->key().to_string() +
                                ": no thread to be had; the next start of the daemon does it");
    }
  });
  wait_for_exit(task);
  // Its pid is for messages that name a shim; nobody waits for it.
  shim_api::ConnectRequest request;
  request.set_id(task->key().id);
  task->shim()->call_async<shim_api::ConnectResponse>(
      Context(), "Connect", request, settings_.timeouts.state,
      [weak = std::weak_ptr(task)](const Status& status,
                                   const shim_api::ConnectResponse& response) {
        if (const auto alive = weak.lock(); alive != nullptr && status.ok()) {
          alive->shim()->set_pid(response.shim_pid());
        }
      });
}

// One question to the shim serves all clients that wait, and its answer is still known when the
// shim is not.
void TaskRuntime::wait_for_exit(const std::shared_ptr<Task>& task) {
  shim_api::WaitRequest request;
  request.set_id(task->key().id);
  task->shim()->call_async<shim_api::WaitResponse>(
      Context(), "Wait", request, std::chrono::nanoseconds::max(),
      [weak = std::weak_ptr(task)](const Status& status, const shim_api::WaitResponse& response) {
        const auto alive = weak.lock();
        if (alive == nullptr) return;
        if (status.ok()) {
          alive->set_exited(to_exit(alive->pid(), response.exit_status(), response.exited_at()));
        } else if (!is_closed(status)) {
          alive->fail_waiters(status);
        }  // else the burial tells
      });
}

ExitStatus TaskRuntime::clean_up(const Bundle& bundle, const std::string& binary, uint32_t pid) {
  auto exit = launcher_.remove(bundle, binary);
  if (!exit.ok()) {
    log(LogLevel::kWarn, "clean up after the shim of task " + bundle.key().to_string() + ": " +
                             exit.status().message());
    exit = killed_now(pid);
  }
  if (exit->pid == 0) exit->pid = pid;
  if (const Status removed = bundle.remove(); !removed.ok()) {
    log(LogLevel::kError, removed.message());
  }
  return *exit;
}

void TaskRuntime::publish_end(const TaskKey& key, const ExitStatus& exit, bool exit_is_known) {
  if (!exit_is_known) {
    containerd::events::TaskExit event;
    event.set_container_id(key.id);
    event.set_id(key.id);
    event.set_pid(exit.pid);
    event.set_exit_status(exit.status);
    set_timestamp(exit, event.mutable_exited_at());
    peers_.events->publish(key.ns, "/tasks/exit", event);
  }
  containerd::events::TaskDelete event;
  event.set_container_id(key.id);
  event.set_pid(exit.pid);
  event.set_exit_status(exit.status);
  set_timestamp(exit, event.mutable_exited_at());
  peers_.events->publish(key.ns, "/tasks/delete", event);
}

void TaskRuntime::bury(Task& task) {
  log(LogLevel::kWarn,
      "the shim of task " + task.key().to_string() + " is gone; cleaning up after it");
  // A process that had ended before has been announced by its shim; only its deletion has not.
  const auto known = task.exited();
  const ExitStatus cleaned = clean_up(task.bundle(), task.binary(), task.pid());
  const ExitStatus exit = known.value_or(cleaned);
  // Before the events: who hears of the end may make the task anew at once, and then waits for the
  // name.
  const TaskTable::Reservation name = table_.retire(task);
  publish_end(task.key(), exit, known.has_value());
  task.set_gone(exit);
}

void TaskRuntime::deletion_announced(const TaskKey& key) {
  if (const auto task = table_.find_any(key)) task->set_announced();
}

// The shim has deleted its task: it may go. Its name stays taken until it does, since a shim that
// is started under the same name would be told to use the socket of this one.
void TaskRuntime::dismiss(Task& task, [[maybe_unused]] TaskTable::Reservation name) {
  constexpr auto kAnnouncement = std::chrono::milliseconds(500);
  task.wait_announced(ttrpc::monotonic_ns() + std::chrono::nanoseconds(kAnnouncement).count());
  shim_api::ShutdownRequest shutdown;
  shutdown.set_id(task.key().id);
  google::protobuf::Empty empty;
  const Status ended =
      task.shim()->call(Context(), "Shutdown", shutdown, &empty, settings_.timeouts.shutdown);
  if (!ended.ok() && !is_closed(ended)) {
    log(LogLevel::kWarn, "task " + task.key().to_string() +
                             " is deleted, and its shim may be left: " + ended.message());
  }
  task.shim()->close();
  // Last: without its bundle a shim would not be found by the next start of the daemon.
  if (const Status removed = task.bundle().remove(); !removed.ok())
    log(LogLevel::kError, removed.message());
}

Status TaskRuntime::remove(const Context& context, const std::string& id,
                           tasks_api::DeleteResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::shared_ptr<Task> task, find(context, id));
  const auto answer = [&](const ExitStatus& exit) {
    response->set_pid(exit.pid);
    response->set_exit_status(exit.status);
    set_timestamp(exit, response->mutable_exited_at());
    return Status();
  };
  shim_api::DeleteRequest request;
  request.set_id(id);
  shim_api::DeleteResponse deleted;
  const Status status = with_state_code(task->shim()->call(context, "Delete", request, &deleted));
  if (is_closed(status)) {
    // The shim died: the burial under way tells how the task ended.
    const auto patience = settings_.launcher.delete_timeout + std::chrono::seconds(1);
    const auto exit =
        task->wait_gone(std::min(context.deadline(), ttrpc::monotonic_ns() + patience.count()));
    return exit ? answer(*exit) : status;
  }
  // NOT_FOUND: the shim has forgotten the task already, as after a deletion that this daemon did
  // not survive.
  if (!status.ok() && status.code() != Code::kNotFound)
    return status.with_context("failed to delete task");
  if (!task->claim_end()) {
    const auto exit = task->wait_gone(context.deadline());
    return exit ? answer(*exit) : status;
  }
  const ExitStatus exit = status.ok()
                              ? to_exit(deleted.pid(), deleted.exit_status(), deleted.exited_at())
                              : task->exited().value_or(killed_now(task->pid()));
  // The client need not wait for the rest.
  auto name = std::make_shared<TaskTable::Reservation>(table_.retire(*task));
  task->set_gone(exit);
  if (!run([this, task, name] { dismiss(*task, std::move(*name)); }))
    dismiss(*task, std::move(*name));
  return status.ok() ? answer(exit) : status;
}

}  // namespace berth::runtime
