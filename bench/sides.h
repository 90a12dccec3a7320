// The sides of rows that compare shims: each daemon with each shim, and the OCI runtime by itself.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bare_runtime.h"
#include "rows.h"

namespace berth::bench {

/// One container of one side. Steps in order; make() and unmake() are what surrounds its life:
/// record and root file system. Each throws std::runtime_error when the side fails, wait() also
/// when the process ends with another status than 0. One thread at a time.
class Life {
 public:
  virtual ~Life() = default;
  virtual void make() = 0;
  virtual void create() = 0;
  virtual void start() = 0;
  virtual void wait() = 0;
  virtual void kill() = 0;  // and waits
  virtual void remove() = 0;
  virtual void unmake() = 0;
  virtual void exec(const std::string& exec_id) = 0;  // of `true`, until it is deleted
};

/// What one thread needs to lead lives, as a connection. Outlives them.
class Worker {
 public:
  virtual ~Worker() = default;
  virtual std::unique_ptr<Life> life(const std::string& id, const Workload& workload) = 0;
};

class Side {
 public:
  virtual ~Side() = default;
  virtual std::unique_ptr<Worker> worker() = 0;
  /// Of everything on this side so far; 0 where it is not counted.
  virtual double cpu_milliseconds() const = 0;
  /// What is done on this side while it exists counts as its CPU time.
  virtual std::unique_ptr<CountedThread> counted() const { return nullptr; }
  /// Or nullptr.
  virtual const DaemonProcess* daemon() const { return nullptr; }
};

/// An OCI runtime.
struct RuntimeProgram {
  std::string name, path;
};

/// All sides, started together, in the order of their layout, each on a new ext4 of its own. None
/// of them works unless asked.
class Sides {
 public:
  explicit Sides(const Settings& settings);

  size_t size() const { return sides_.size(); }
  Side& operator[](size_t index) { return *sides_[index]; }
  /// See usable_runtimes().
  std::vector<RuntimeProgram> runtimes(const Settings& settings, Results* results) const;
  /// Another order at each call, so that nobody always follows the same.
  std::vector<size_t> shuffled();

  static const Layout& layout();
  static constexpr size_t kBare = 4;

 private:
  std::vector<std::unique_ptr<Side>> sides_;
  BareRuntime* bare_ = nullptr;
  unsigned random_ = 1;
};

/// Those of the settings that run containers at `place`; a note says which do not, and why.
std::vector<RuntimeProgram> usable_runtimes(const BareRuntime& place, const Settings& settings,
                                            Results* results);

/// A daemon on a new ext4, with busybox in it as the snapshot that containers are made from.
std::unique_ptr<Side> start_side(const Settings& settings, Kind kind, bool own_shim);

}  // namespace berth::bench
