// Tasks from their birth to their burial: shims started, found again after a restart, cleaned up
// after.
#pragma once

#include <map>
#include <string>

#include "containerd/services/tasks/v1/tasks.pb.h"
#include "direct_runtimes.h"
#include "peers.h"
#include "task.h"

namespace berth::runtime {

namespace tasks_api = containerd::services::tasks::v1;

struct RuntimeSettings {
  BundleRoots roots;
  LauncherSettings launcher;
  ShimTimeouts timeouts;
  /// Versions of OCI runtimes, "runc 1.1", whose start and delete Berth's shim does itself.
  std::vector<std::string> direct_runtimes = {"runc 1.1", "crun 1.8"};
  /// A shim that has not answered this long after a start is reported, and kept.
  std::chrono::nanoseconds reconnect_timeout = std::chrono::seconds(2);
};

/// Any thread unless said otherwise; functions that talk to shims or run programs block. The loop
/// and what `peers` points to outlive it.
class TaskRuntime {
 public:
  TaskRuntime(RuntimeSettings settings, std::shared_ptr<ttrpc::Loop> loop, Peers peers)
      : settings_(std::move(settings)),
        loop_(std::move(loop)),
        peers_(std::move(peers)),
        launcher_(settings_.launcher),
        direct_runtimes_(settings_.direct_runtimes) {}
  /// Stops, and waits for clean-ups under way.
  ~TaskRuntime();
  TaskRuntime(const TaskRuntime&) = delete;
  TaskRuntime& operator=(const TaskRuntime&) = delete;

  /// Finds the shims of bundles on disk; once, before any other call. Waits for none of them: a
  /// listening one is taken to have its task until it says otherwise, dead ones are cleaned up
  /// after it returns.
  Status recover();
  /// Waits for clean-ups under way until a CLOCK_MONOTONIC time, then lets go of all shims, which
  /// live on.
  void stop(int64_t deadline_ns);
  /// To be called for each event /tasks/delete of a task that a shim sends; any thread, does not
  /// block.
  void deletion_announced(const TaskKey& key);
  /// The same for each event /tasks/exit; an empty exec id is the task's first process.
  void end_told(const TaskKey& key, const std::string& exec_id, uint32_t pid);

  Status create(const Context& context, const tasks_api::CreateTaskRequest& request,
                tasks_api::CreateTaskResponse* response);
  Status remove(const Context& context, const std::string& id, tasks_api::DeleteResponse* response);
  /// The task in the context's namespace.
  Result<std::shared_ptr<Task>> find(const Context& context, const std::string& id) const;
  std::vector<std::shared_ptr<Task>> list(std::string_view ns) const { return table_.list(ns); }
  const ShimLauncher& launcher() const { return launcher_; }
  const Peers& peers() const { return peers_; }
  const RuntimeSettings& settings() const { return settings_; }

 private:
  using Container = containerd::services::containers::v1::Container;
  struct Found;  // a bundle of before the restart

  Result<std::shared_ptr<Task>> start_shim(const Context& context, const Bundle& bundle,
                                           const Container& container, const std::string& runtime,
                                           const google::protobuf::Any& options);
  Result<Bootstrap> sandbox_shim(const TaskKey& key, const Container& container,
                                 const google::protobuf::Any& options) const;
  std::vector<std::string> direct_environment(const google::protobuf::Any& options);
  Status create_in_shim(const Context& context, Task& task,
                        const shim_api::CreateTaskRequest& request, uint32_t* pid);
  /// Extracts a checkpoint below the bundle, which it goes with; returns the directory.
  Result<std::string> fetch_checkpoint(const Context& context, const Bundle& bundle,
                                       const containerd::types::Descriptor& files) const;
  void abandon(Task& task);  // after a failed create
  Result<std::unique_ptr<ShimLog>> open_log(const Bundle& bundle);
  void watch(const std::shared_ptr<Task>& task);
  void wait_for_exit(const std::shared_ptr<Task>& task);
  void bury(Task& task);
  void dismiss(Task& task, TaskTable::Reservation name);
  ExitStatus clean_up(const Bundle& bundle, const std::string& binary, uint32_t pid);
  void drop_bundle(const Bundle& bundle) const;
  /// A shim that was killed leaves its socket.
  static void drop_socket(const Bundle& bundle);
  /// What is left to be told of a task whose shim is gone. Taken from the bundle before it goes.
  struct Untold {
    std::map<std::string, ExitStatus> ends;  // by exec id
    bool deletion = true;
    /// The ends of all processes, of which some have been told.
    std::map<std::string, ExitStatus> all;
  };
  /// `exit` is that of the first process unless the shim wrote down another. `task` knows what this
  /// daemon has been told, if there is one. A shim that writes nothing down has told the end of the
  /// first process if it is `announced`, and not the deletion that is `deletion_due`.
  Untold untold(const Bundle& bundle, const Task* task, const ExitStatus& exit, bool announced,
                bool deletion_due) const;
  void publish_untold(const Bundle& bundle, const Untold& untold, const ExitStatus& exit);
  bool run(std::function<void()> work);  // counted, so that the destructor can wait

  std::vector<Found> find_bundles();
  Result<std::string> binary_of(const Bundle& bundle) const;
  void reconnect(Found* found);
  void adopt(Found found);
  void ask_for_state(const std::shared_ptr<Task>& task, bool shares_shim,
                     std::chrono::nanoseconds timeout);
  void confirm(const std::shared_ptr<Task>& task, const Status& status, uint32_t pid,
               bool shares_shim);
  void answered_late(const std::shared_ptr<Task>& task, const Status& status, uint32_t pid,
                     bool shares_shim);
  void discard_soon(const std::shared_ptr<Task>& task, const Status& status, bool shares_shim);
  ExitStatus discard(const Found& found);
  void clean_work_directories() const;

  void log(LogLevel level, const std::string& text) const {
    if (peers_.log) peers_.log(level, text);
  }

  const RuntimeSettings settings_;
  const std::shared_ptr<ttrpc::Loop> loop_;
  const Peers peers_;
  const ShimLauncher launcher_;
  DirectRuntimes direct_runtimes_;
  TaskTable table_;
  std::atomic<bool> stopping_ = false;

  std::mutex mutex_;  // guards what follows
  std::condition_variable idle_;
  int running_ = 0;
};

}  // namespace berth::runtime
