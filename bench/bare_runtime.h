// An OCI runtime driven without daemon and shim: what no daemon can beat.
#pragma once

#include <berth/fd.h>

#include <string>
#include <vector>

#include "container.h"

namespace berth::bench {

/// A root file system with busybox for bundles, and where they are.
class BareRuntime {
 public:
  /// `directory` does not exist yet. Throws std::runtime_error when it cannot be made.
  BareRuntime(const std::string& directory, const std::string& space);
  /// Ends its containers and removes the directory.
  ~BareRuntime();
  BareRuntime(const BareRuntime&) = delete;
  BareRuntime& operator=(const BareRuntime&) = delete;

  const std::string& directory() const { return directory_; }
  const std::string& space() const { return space_; }
  /// "" when this runtime runs containers here, else what it says.
  std::string refuses(const std::string& runtime) const;

 private:
  const std::string directory_, space_;
};

/// One container of it. Steps in order, as of Container; each throws std::runtime_error when the
/// runtime fails.
class BareContainer {
 public:
  BareContainer(const BareRuntime& place, const std::string& id, const Workload& workload);
  ~BareContainer();
  BareContainer(const BareContainer&) = delete;
  BareContainer& operator=(const BareContainer&) = delete;

  /// Bundle and root file system, an overlay as a snapshot is.
  void make();
  void create();
  void start();
  void wait();
  void kill();
  void remove();
  void unmake();
  void exec(const std::string& exec_id);

 private:
  void run_runtime(const std::vector<std::string>& arguments);

  const std::string runtime_, space_, base_, id_, bundle_;
  const std::vector<std::string> command_;
  UniqueFd process_;
};

/// The calling thread, and threads and processes that it starts from now on, are in a cgroup whose
/// CPU time is counted, until this goes out of scope. Nothing where there is no such cgroup.
class CountedThread {
 public:
  explicit CountedThread(const std::string& cgroup);
  ~CountedThread();
  CountedThread(const CountedThread&) = delete;
  CountedThread& operator=(const CountedThread&) = delete;

 private:
  std::string home_;  // tasks file of the cgroup that it came from
};

}  // namespace berth::bench
