#include "task.h"

namespace berth::runtime {

void Task::set_exited(const ExitStatus& exit) {
  std::map<WaiterId, Waiter> waiting;
  {
    const std::lock_guard lock(mutex_);
    if (exit_) return;
    exit_ = exit;
    waiting.swap(waiting_);
  }
  for (const auto& [id, wake] : waiting) wake({}, exit);
}

void Task::fail_waiters(const Status& status) {
  std::map<WaiterId, Waiter> waiting;
  {
    const std::lock_guard lock(mutex_);
    waiting.swap(waiting_);
  }
  for (const auto& [id, wake] : waiting) wake(status, {});
}

std::optional<ExitStatus> Task::exited() const {
  const std::lock_guard lock(mutex_);
  return exit_;
}

Task::WaiterId Task::when_exited(Waiter wake) {
  ExitStatus exit;
  {
    const std::lock_guard lock(mutex_);
    if (!exit_) {
      waiting_.emplace(++last_waiter_, std::move(wake));
      return last_waiter_;
    }
    exit = *exit_;
  }
  wake({}, exit);
  return 0;
}

bool Task::forget(WaiterId waiter) {
  const std::lock_guard lock(mutex_);
  return waiting_.erase(waiter) != 0;
}

void Task::set_gone(const ExitStatus& exit) {
  set_exited(exit);
  const std::lock_guard lock(mutex_);
  gone_ = true;
  changed_.notify_all();
}

std::optional<ExitStatus> Task::wait_gone(int64_t deadline_ns) {
  std::unique_lock lock(mutex_);
  while (!gone_) {
    const int64_t left = deadline_ns - ttrpc::monotonic_ns();
    if (left <= 0) return std::nullopt;
    changed_.wait_for(lock, std::chrono::nanoseconds(left));
  }
  return exit_;
}

TaskTable::Reservation::~Reservation() {
  if (table_ == nullptr) return;
  const std::lock_guard lock(table_->mutex_);
  table_->tasks_.erase(key_);
}

void TaskTable::Reservation::add(std::shared_ptr<Task> task) {
  TaskTable* const table = std::exchange(table_, nullptr);
  const std::lock_guard lock(table->mutex_);
  table->tasks_[key_] = std::move(task);
}

Result<TaskTable::Reservation> TaskTable::reserve(const TaskKey& key) {
  const std::lock_guard lock(mutex_);
  if (!tasks_.emplace(key, nullptr).second) {
    return already_exists("task " + key.id + ": already exists");
  }
  return Reservation(this, key);
}

Result<std::shared_ptr<Task>> TaskTable::find(const TaskKey& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = tasks_.find(key);
  if (found == tasks_.end() || found->second == nullptr) {
    return not_found("task " + key.id + " not found: not found");
  }
  return found->second;
}

std::vector<std::shared_ptr<Task>> TaskTable::list(std::string_view ns) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Task>> tasks;
  for (const auto& [key, task] : tasks_) {
    if (task != nullptr && (ns.empty() || key.ns == ns)) tasks.push_back(task);
  }
  return tasks;
}

void TaskTable::remove(const Task& task) {
  std::shared_ptr<Task> dropped;  // destroyed outside the lock
  const std::lock_guard lock(mutex_);
  const auto found = tasks_.find(task.key());
  if (found == tasks_.end() || found->second.get() != &task) return;
  dropped = std::move(found->second);
  tasks_.erase(found);
}

}  // namespace berth::runtime
