// How a task ends: by a client's wish, or because its shim is gone.
#include "runtime.h"

#include <berth/fault.h>
#include <berth/ttrpc/probe.h>

#include "containerd/events/task.pb.h"
#include "leftovers.h"
#include "process_record.h"

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
  constexpr int kAttempts = 5;
  auto exit = launcher_.remove(bundle, binary);
  // One that was killed has left the rest; the next goes on where it was.
  for (int i = 1; i < kAttempts && exit.status().code() == Code::kAborted; ++i) {
    exit = launcher_.remove(bundle, binary);
  }
  if (!exit.ok()) {
    log(LogLevel::kWarn, "clean up after the shim of task " + bundle.key().to_string() + ": " +
                             exit.status().message());
    const Status removed =
        remove_by_runtime(bundle, settings_.launcher.path, settings_.launcher.delete_timeout);
    if (!removed.ok()) {
      log(LogLevel::kError, "task " + bundle.key().to_string() + ": " + removed.message());
    }
    exit = killed_now(pid);
  }
  if (exit->pid == 0) exit->pid = pid;
  return *exit;
}

void TaskRuntime::drop_bundle(const Bundle& bundle) const {
  if (const Status removed = bundle.remove(); !removed.ok()) {
    log(LogLevel::kError, removed.message());
  }
}

void TaskRuntime::drop_socket(const Bundle& bundle) {
  const auto bootstrap = read_bootstrap(bundle);
  if (!bootstrap.ok()) return;
  if (const auto path = bootstrap->socket_path(); path.ok()) ttrpc::remove_dead_socket(*path);
}

TaskRuntime::Untold TaskRuntime::untold(const Bundle& bundle, const Task* task,
                                        const ExitStatus& exit, bool announced,
                                        bool deletion_due) const {
  Untold out;
  out.all[""] = exit;
  const auto told = [&](const std::string& exec_id, uint32_t pid) {
    return task != nullptr && task->told(exec_id, pid);
  };
  const auto record = read_record(bundle);
  if (!record) {  // a shim of another kind; of its execs nothing is known
    if (!announced && !told("", exit.pid)) out.ends[""] = exit;
    out.deletion = deletion_due || !announced;
    return out;
  }
  for (const auto& [exec_id, process] : record->processes) {
    ExitStatus end = exec_id.empty() ? exit : killed_now(process.pid);
    if (process.end) end = *process.end;
    end.pid = process.pid;
    out.all[exec_id] = end;
    if (!process.told && !told(exec_id, process.pid)) out.ends[exec_id] = end;
  }
  out.deletion = !record->deleted && record->processes.contains("");
  return out;
}

void TaskRuntime::publish_untold(const Bundle& bundle, const Untold& untold,
                                 const ExitStatus& exit) {
  const TaskKey& key = bundle.key();
  const auto publish_exit = [&](const std::string& exec_id, const ExitStatus& end) {
    containerd::events::TaskExit event;
    event.set_container_id(key.id);
    event.set_id(exec_id.empty() ? key.id : exec_id);
    event.set_pid(end.pid);
    event.set_exit_status(end.status);
    set_timestamp(end, event.mutable_exited_at());
    (void)note_ended(bundle, exec_id, end);
    peers_.events->publish(key.ns, "/tasks/exit", event);
    BERTH_FAULT_POINT("daemon.publish.told");
    (void)note_told(bundle, exec_id);
  };
  for (const auto& [exec_id, end] : untold.ends) {
    if (!exec_id.empty()) publish_exit(exec_id, end);
  }
  // Last, as its shim would have told it.
  if (const auto first = untold.ends.find(""); first != untold.ends.end()) {
    publish_exit("", first->second);
  }
  if (!untold.deletion) return;
  containerd::events::TaskDelete event;
  event.set_container_id(key.id);
  event.set_pid(exit.pid);
  event.set_exit_status(exit.status);
  set_timestamp(exit, event.mutable_exited_at());
  peers_.events->publish(key.ns, "/tasks/delete", event);
  (void)note_told(bundle, "", true);
}

void TaskRuntime::bury(Task& task) {
  log(LogLevel::kWarn,
      "the shim of task " + task.key().to_string() + " is gone; cleaning up after it");
  BERTH_FAULT_POINT("daemon.bury.begin");
  const ExitStatus cleaned = clean_up(task.bundle(), task.binary(), task.pid());
  BERTH_FAULT_POINT("daemon.bury.cleaned");
  const auto known = task.exited();
  const Untold rest =
      untold(task.bundle(), &task, known.value_or(cleaned), known.has_value(), true);
  const ExitStatus exit = rest.all.at("");
  // Before the events: who hears of the end may make the task anew at once, and then waits for the
  // name.
  const TaskTable::Reservation name = table_.retire(task);
  task.set_exec_ends(rest.all);
  publish_untold(task.bundle(), rest, exit);
  BERTH_FAULT_POINT("daemon.bury.told");
  // Last: what a daemon that dies before would not find it could not tell.
  drop_socket(task.bundle());
  drop_bundle(task.bundle());
  task.set_gone(exit);
}

void TaskRuntime::deletion_announced(const TaskKey& key) {
  if (const auto task = table_.find_any(key)) task->set_announced();
}

void TaskRuntime::end_told(const TaskKey& key, const std::string& exec_id, uint32_t pid) {
  if (const auto task = table_.find_any(key)) task->set_told(exec_id, pid);
}

// The shim has deleted its task: it may go. Its name stays taken until it does, since a shim that
// is started under the same name would be told to use the socket of this one.
void TaskRuntime::dismiss(Task& task, [[maybe_unused]] TaskTable::Reservation name) {
  BERTH_FAULT_POINT("daemon.dismiss.begin");
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
  BERTH_FAULT_POINT("daemon.dismiss.ended");
  if (is_closed(ended)) drop_socket(task.bundle());
  // Last: without its bundle a shim would not be found by the next start of the daemon.
  drop_bundle(task.bundle());
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
  BERTH_FAULT_POINT("daemon.delete.begin");
  const Status status = with_state_code(task->shim()->call(context, "Delete", request, &deleted));
  BERTH_FAULT_POINT("daemon.delete.deleted");
  if (is_closed(status)) {
    // The shim died: the burial under way tells how the task ended.
    const auto patience = 3 * settings_.launcher.delete_timeout + std::chrono::seconds(1);
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
  BERTH_FAULT_POINT("daemon.delete.retired");
  if (!run([this, task, name] { dismiss(*task, std::move(*name)); }))
    dismiss(*task, std::move(*name));
  return status.ok() ? answer(exit) : status;
}

}  // namespace berth::runtime
