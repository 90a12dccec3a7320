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

void Task::set_told(const std::string& exec_id, uint32_t pid) {
  const std::lock_guard lock(mutex_);
  (exec_id.empty() ? told_ : exec_told_) = std::pair(exec_id, pid);
}

bool Task::told(const std::string& exec_id, uint32_t pid) const {
  const std::lock_guard lock(mutex_);
  const std::pair<std::string, uint32_t> process(exec_id, pid);
  return told_ == process || exec_told_ == process;
}

void Task::set_exec_ends(std::map<std::string, ExitStatus> ends) {
  const std::lock_guard lock(mutex_);
  exec_ends_ = std::move(ends);
}

std::optional<ExitStatus> Task::exec_end(const std::string& exec_id) const {
  const std::lock_guard lock(mutex_);
  const auto found = exec_ends_.find(exec_id);
  return found == exec_ends_.end() ? std::nullopt : std::optional(found->second);
}

void Task::set_announced() {
  const std::lock_guard lock(mutex_);
  announced_ = true;
  changed_.notify_all();
}

bool Task::wait_announced(int64_t deadline_ns) {
  std::unique_lock lock(mutex_);
  while (!announced_) {
    const int64_t left = deadline_ns - ttrpc::monotonic_ns();
    if (left <= 0) return false;
    changed_.wait_for(lock, std::chrono::nanoseconds(left));
  }
  return true;
}

TaskTable::Reservation::~Reservation() {
  if (table_ == nullptr) return;
  std::shared_ptr<Task> dropped;  // destroyed outside the lock
  const std::lock_guard lock(table_->mutex_);
  if (const auto found = table_->tasks_.find(key_); found != table_->tasks_.end()) {
    dropped = std::move(found->second.task);
    table_->tasks_.erase(found);
  }
  table_->freed_.notify_all();
}

void TaskTable::Reservation::add(std::shared_ptr<Task> task) {
  TaskTable* const table = std::exchange(table_, nullptr);
  const std::lock_guard lock(table->mutex_);
  table->tasks_[key_] = {std::move(task), false, false};
}

void TaskTable::Reservation::add_unconfirmed(std::shared_ptr<Task> task) {
  TaskTable* const table = std::exchange(table_, nullptr);
  const std::lock_guard lock(table->mutex_);
  table->tasks_[key_] = {std::move(task), false, true};
}

void TaskTable::confirm(const TaskKey& key) {
  const std::lock_guard lock(mutex_);
  if (const auto found = tasks_.find(key); found != tasks_.end()) {
    found->second.unconfirmed = false;
  }
  freed_.notify_all();
}

void TaskTable::Reservation::set_ending() {
  const std::lock_guard lock(table_->mutex_);
  table_->tasks_[key_].ending = true;
}

Result<TaskTable::Reservation> TaskTable::reserve(const TaskKey& key, int64_t deadline_ns) {
  std::unique_lock lock(mutex_);
  while (true) {
    const auto [entry, inserted] = tasks_.try_emplace(key);
    if (inserted) return Reservation(this, key);
    const int64_t left = deadline_ns - ttrpc::monotonic_ns();
    if ((!entry->second.ending && !entry->second.unconfirmed) || left <= 0)
      return already_exists("task " + key.id + ": already exists");
    // Cut, since some libraries overflow on a deadline of "never".
    freed_.wait_for(
        lock, std::min(std::chrono::nanoseconds(left), std::chrono::nanoseconds(1'000'000'000)));
  }
}

Result<std::shared_ptr<Task>> TaskTable::find(const TaskKey& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = tasks_.find(key);
  if (found == tasks_.end() || found->second.task == nullptr || found->second.ending) {
    return not_found("task " + key.id + " not found: not found");
  }
  return found->second.task;
}

std::shared_ptr<Task> TaskTable::find_any(const TaskKey& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = tasks_.find(key);
  return found == tasks_.end() ? nullptr : found->second.task;
}

std::vector<std::shared_ptr<Task>> TaskTable::list(std::string_view ns) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Task>> tasks;
  for (const auto& [key, entry] : tasks_) {
    if (entry.task != nullptr && !entry.ending && (ns.empty() || key.ns == ns))
      tasks.push_back(entry.task);
  }
  return tasks;
}

TaskTable::Reservation TaskTable::retire(const Task& task) {
  const std::lock_guard lock(mutex_);
  tasks_[task.key()].ending = true;
  return {this, task.key()};
}

}  // namespace berth::runtime
