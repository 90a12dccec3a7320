// One task: its bundle, its shim, and how it ended if the shim is gone.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "containerd/types/task/task.pb.h"
#include "shim_names.h"

namespace berth::runtime {

/// Any thread.
class Task {
 public:
  Task(Bundle bundle, std::string binary, std::shared_ptr<Shim> shim, std::unique_ptr<ShimLog> log)
      : bundle_(std::move(bundle)),
        binary_(std::move(binary)),
        shim_(std::move(shim)),
        log_(std::move(log)) {}

  const TaskKey& key() const { return bundle_.key(); }
  const Bundle& bundle() const { return bundle_; }
  /// The shim's program, which also cleans up after a dead shim.
  const std::string& binary() const { return binary_; }
  const std::shared_ptr<Shim>& shim() const { return shim_; }

  /// The last pid that the shim told, for when it does not answer.
  uint32_t pid() const { return pid_; }
  void set_pid(uint32_t pid) { pid_ = pid; }

  /// Who removes the task: the first caller gets true, once. Deletion by a client and the death of
  /// the shim compete.
  bool claim_end() { return !claimed_.exchange(true); }

  /// Tells how the first process ended, or why its shim cannot tell (`exit` is then meaningless).
  /// Must not block.
  using Waiter = std::function<void(const Status& status, const ExitStatus& exit)>;
  /// Names a waiter; 0 when it has run already.
  using WaiterId = uint64_t;

  /// The first process has ended; wakes those who wait for it. The first call counts.
  void set_exited(const ExitStatus& exit);
  /// The shim cannot tell; wakes those who wait, with `status`. Later ones wait for set_exited().
  void fail_waiters(const Status& status);
  std::optional<ExitStatus> exited() const;
  /// Runs `wake` on the thread of the calls above, or at once when the process has ended.
  WaiterId when_exited(Waiter wake);
  /// Takes a waiter back; false when it has run or is about to.
  bool forget(WaiterId waiter);

  /// The event of a process's end has come; an empty exec id is the first one. Ids are used again,
  /// so the pid counts too. Of execs only the last is remembered: a shim that keeps a record of
  /// them (and of others nothing is asked) has written there that one is told before it tells the
  /// next.
  void set_told(const std::string& exec_id, uint32_t pid);
  bool told(const std::string& exec_id, uint32_t pid) const;
  /// How a process ended that had been added, once the shim is gone; 137 when nobody knows better.
  void set_exec_ends(std::map<std::string, ExitStatus> ends);
  std::optional<ExitStatus> exec_end(const std::string& exec_id) const;

  /// The shim's event of the task's deletion has come. A shim that is told to end too early loses
  /// it.
  void set_announced();
  /// Waits for set_announced() until a CLOCK_MONOTONIC time; false when it has not come.
  bool wait_announced(int64_t deadline_ns);

  /// The task is no more: deleted, or cleaned up after its shim died. Implies set_exited().
  void set_gone(const ExitStatus& exit);
  /// Waits for set_gone() until a CLOCK_MONOTONIC time; then tells how the process ended.
  std::optional<ExitStatus> wait_gone(int64_t deadline_ns);

 private:
  const Bundle bundle_;
  const std::string binary_;
  const std::shared_ptr<Shim> shim_;
  const std::unique_ptr<ShimLog> log_;
  std::atomic<uint32_t> pid_ = 0;
  std::atomic<bool> claimed_ = false;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::optional<ExitStatus> exit_;
  std::optional<std::pair<std::string, uint32_t>> told_, exec_told_;  // the last of each kind
  std::map<std::string, ExitStatus> exec_ends_;
  bool announced_ = false;
  bool gone_ = false;
  WaiterId last_waiter_ = 0;
  std::map<WaiterId, Waiter> waiting_;
};

/// The tasks of the daemon by namespace and id. Any thread.
class TaskTable {
 public:
  /// A name that is taken while its task is being made or cleaned up after; freed unless the task
  /// was added.
  class Reservation {
   public:
    Reservation(TaskTable* table, TaskKey key) : table_(table), key_(std::move(key)) {}
    Reservation(Reservation&& other) noexcept
        : table_(std::exchange(other.table_, nullptr)), key_(other.key_) {}
    Reservation& operator=(Reservation&&) = delete;
    ~Reservation();
    /// The task can be found from now on.
    void add(std::shared_ptr<Task> task);
    /// The same for a task of an earlier daemon, of which the shim has yet to say whether it is
    /// there: who wants its name waits for that.
    void add_unconfirmed(std::shared_ptr<Task> task);
    /// What had the name is being cleaned up: others wait for it instead of failing.
    void set_ending();

   private:
    TaskTable* table_;
    TaskKey key_;
  };

  /// ALREADY_EXISTS when there is such a task or one is being made. One that is being cleaned up or
  /// is not confirmed is waited for until a CLOCK_MONOTONIC time: clients delete a task and make it
  /// anew at once. Blocks.
  Result<Reservation> reserve(const TaskKey& key, int64_t deadline_ns);
  /// NOT_FOUND, also while the task is being made or cleaned up after. Does not block.
  Result<std::shared_ptr<Task>> find(const TaskKey& key) const;
  /// In the order of their ids; all namespaces when `ns` is empty. Does not block.
  std::vector<std::shared_ptr<Task>> list(std::string_view ns) const;
  /// The task cannot be found any more; its name is free when the reservation goes. The caller has
  /// claimed the end.
  Reservation retire(const Task& task);
  /// Ends the wait for what add_unconfirmed() added.
  void confirm(const TaskKey& key);
  /// Reaches a task that is being cleaned up after, too; nullptr without one. Does not block.
  std::shared_ptr<Task> find_any(const TaskKey& key) const;

 private:
  struct Entry {
    std::shared_ptr<Task> task;  // nullptr: being made, or a bundle of which no task came
    bool ending = false;
    bool unconfirmed = false;
  };
  mutable std::mutex mutex_;  // guards the map
  std::condition_variable freed_;
  std::map<TaskKey, Entry> tasks_;
};

}  // namespace berth::runtime
