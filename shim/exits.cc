// The ends of processes: found by pid, told in order.
#include <berth/fault.h>
#include <signal.h>

#include <algorithm>
#include <map>
#include <utility>

#include "containerd/events/task.pb.h"
#include "containerd/runtime/task/v3/shim.pb.h"
#include "log.h"
#include "service.h"

namespace berth::shim {

namespace {

/// Until a client is looked at again that has not read all.
constexpr int64_t kAgain = 1'000'000;

std::string wait_response(const Exit& exit) {
  containerd::task::v3::WaitResponse response;
  response.set_exit_status(exit.status);
  set_time(exit, response.mutable_exited_at());
  return response.SerializeAsString();
}

}  // namespace

void Service::begin_spawn() {
  std::unique_lock lock(mutex_);
  spawned_.wait(lock, [this] { return judging_ == 0; });
  ++spawning_;
}

void Service::end_spawn() {
  const std::lock_guard lock(mutex_);
  if (--spawning_ == 0) early_.clear();
  spawned_.notify_all();
}

void Service::adopt_locked(const std::shared_ptr<Process>& process, pid_t pid) {
  process->pid = pid;
  if (const auto found = early_.find(pid); found != early_.end()) {
    process->exit = found->second;
    early_.erase(found);
  } else {
    by_pid_[pid] = process;
  }
}

void Service::exited(const Exit& exit) {
  const std::lock_guard lock(mutex_);
  const auto found = by_pid_.find(exit.pid);
  if (found == by_pid_.end()) {
    if (spawning_ > 0) early_[exit.pid] = exit;
    return;
  }
  BERTH_FAULT_POINT("shim.exit.reaped");
  const auto process = found->second;
  process->exit = exit;
  by_pid_.erase(found);
  for (const auto& [id, container] : containers_) {
    const bool ours = container->init == process ||
                      std::any_of(container->execs.begin(), container->execs.end(),
                                  [&](const auto& entry) { return entry.second == process; });
    if (ours) return settle_soon(container);
  }
}

void Service::settle_soon(const std::shared_ptr<Container>& container) {
  loop_->post([this, container] { settle(container); });
}

void Service::settle(const std::shared_ptr<Container>& container) {
  const auto is_due = [](const Process& process) {
    return process.exit && !process.told && !process.starting;
  };
  bool kill_rest = false;
  std::map<const Process*, std::shared_ptr<Stdio>> due;
  std::shared_ptr<OomWatcher> oom;
  bool failed = false;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, exec] : container->execs) {
      if (is_due(*exec)) due[exec.get()] = exec->stdio;
    }
    if (is_due(*container->init)) {
      due[container->init.get()] = container->init->stdio;
      oom = container->oom;
      failed = container->init->exit->status != 0;
      kill_rest = !container->facts.own_pid_namespace && !container->killing_rest;
      if (kill_rest) container->killing_rest = true;
    }
  }
  // What was written before the end is the client's before it hears of the end.
  const size_t ended = due.size();
  std::erase_if(due, [](const auto& one) { return one.second && !one.second->taken(); });
  if (due.size() != ended && !std::exchange(container->settling, true)) {
    loop_->at(ttrpc::monotonic_ns() + kAgain, [this, container] {
      container->settling = false;
      settle(container);
    });
  }
  // As is why it came.
  if (oom != nullptr && due.contains(container->init.get())) oom->check_end(failed);
  // Without a pid namespace of its own the container's other processes go on; they are its all the
  // same.
  if (kill_rest) {
    workers_.post([container] {
      const Status killed = container->runtime->kill(container->id, SIGKILL, true);
      if (!killed.ok() && killed.code() != Code::kNotFound) {
        log(Level::kWarning, "kill the rest of " + container->id + ": " + killed.message());
      }
    });
  }
  const std::lock_guard lock(mutex_);
  bool running = false;
  for (const auto& [id, exec] : container->execs) {
    if (due.contains(exec.get()) && is_due(*exec)) tell_locked(*container, *exec);
    running = running || exec->starting || (exec->started && !exec->told);
  }
  Process& init = *container->init;
  if (!running && due.contains(&init) && is_due(init)) tell_locked(*container, init);
}

void Service::tell_locked(const Container& container, Process& process) {
  process.told = true;
  if (!process.removed) {
    containerd::events::TaskExit event;
    event.set_container_id(container.id);
    event.set_id(process.exec_id.empty() ? container.id : process.exec_id);
    event.set_pid(static_cast<uint32_t>(process.pid));
    event.set_exit_status(process.exit->status);
    set_time(*process.exit, event.mutable_exited_at());
    BERTH_FAULT_POINT("shim.exit.begin");
    // Written before anybody is told: what is told once is told the same again.
    container.record->ended(process.exec_id, *process.exit);
    publish("/tasks/exit", "containerd.events.TaskExit", event,
            [record = container.record, id = process.exec_id, pid = process.pid] {
              record->told(id, pid);
            });
    BERTH_FAULT_POINT("shim.exit.published");
  }
  const std::string response = wait_response(*process.exit);
  for (const auto& waiter : process.waiters) waiter.finish({}, response);
  process.waiters.clear();
  BERTH_FAULT_POINT("shim.exit.answered");
  told_.notify_all();
}

void Service::wait(std::string_view bytes, const ttrpc::Responder& responder) {
  containerd::task::v3::WaitRequest request;
  if (const Status status = parse(bytes, &request); !status.ok()) return responder.finish(status);
  const std::lock_guard lock(mutex_);
  auto found = find_locked(request.id(), request.exec_id());
  if (!found.ok()) return responder.finish(found.status());
  Process& process = *found->second;
  if (process.told) return responder.finish({}, wait_response(process.exit.value_or(Exit{})));
  process.waiters.push_back(responder);
}

}  // namespace berth::shim
