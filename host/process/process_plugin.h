// A plugin in a process of its own: started, called, watched, and started again when it ends.
#pragma once

#include <berth/fd.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "abi/instance.h"
#include "abi/placed.h"
#include "link/control.h"
#include "link/link.h"
#include "process/child.h"
#include "process/memory_cgroup.h"

namespace berth::process {

struct ProcessOptions {
  std::string program;  // berth-plugin-run
  std::string file;     // the shared object
  link::LogSettings log;
  uint64_t memory_max = 0;  // bytes of its own that it may have; 0: no limit
  /// Why the kernel should not hold it to memory_max; empty where it should.
  std::string only_measured;
  std::chrono::nanoseconds hang_timeout = std::chrono::seconds(30);
  std::chrono::nanoseconds start_timeout = std::chrono::seconds(60);  // of each step
  /// Between an end and the next start: doubled each time, up to the ceiling, until it has stayed
  /// up for `steady`.
  std::chrono::nanoseconds first_delay = std::chrono::milliseconds(100);
  std::chrono::nanoseconds max_delay = std::chrono::seconds(30);
  std::chrono::nanoseconds steady = std::chrono::seconds(60);
};

/// What is known of the process, for introspection and metrics.
struct ProcessFacts {
  pid_t pid = 0;  // 0: there is none now
  uint64_t restarts = 0;
  std::string last_end;  // why it ended last; empty when it never did
  bool stopping = false;
  uint64_t memory_max = 0;
  std::string memory_held_by;             // who sees to memory_max, in words; empty without one
  Usage usage;                            // CPU time includes that of its predecessors
  std::string stopped;                    // as ops::why_stopped() has it
  std::chrono::nanoseconds unanswered{};  // for which a ping has gone without an answer
  std::chrono::nanoseconds hang_timeout{};

  /// Why it would not answer a call now, in words: it is stopped, or has missed a ping, of which
  /// one is sent per sixth of hang_timeout. Empty when nothing is known against it.
  std::string silence() const;
};

/// berth-plugin-run, which is installed beside the program that runs here.
Result<std::string> program_beside_this();

/// Lives for ever. The target, and with it what others are connected to, stays the same through
/// restarts.
class ProcessPlugin final : public abi::Placed {
 public:
  ProcessPlugin(ProcessOptions options, abi::InstanceSettings settings, const abi::HostFacts& host);

  Step probe() override;
  Step init() override;
  Step start() override;
  void ready() override { target_->ready(); }
  void stop(int64_t deadline) override;
  /// Whether a step that failed is not the end of it: what could be loaded is started again in the
  /// background, as after an end. After a step.
  bool goes_on() const;
  /// From now on, and in later lives. Any thread.
  void set_log(const link::LogSettings& log);
  bus::Target& target() override { return *target_; }

  ProcessFacts facts() const;

 private:
  /// One process, from its start to its end.
  struct Life {
    explicit Life(Child one) : child(std::move(one)) {}
    Child child;
    std::optional<MemoryCgroup> cgroup;  // until it is buried
    std::shared_ptr<link::Link> link;
    // Guarded by ProcessPlugin::mutex_:
    std::optional<link::Loaded> loaded;
    std::optional<link::StepOutcome> outcome;
    bool down = false;      // the link is
    std::string verdict;    // why it was killed; empty when it was not
    std::string ended;      // what became of it, once the link is down
    int64_t asked = 0;      // when the first ping was sent that has no answer yet; 0: all have
    bool expected = false;  // to end
  };

  void supervise();
  Step on_supervisor(link::StepName step, std::function<Step()> task);
  void wake();

  Result<std::shared_ptr<Life>> spawn();
  void hold_memory(Life* life);
  std::string how_it_ended(const Life& life, const std::string& ending) const;
  Step load(const std::shared_ptr<Life>& life);
  Step run_step(const std::shared_ptr<Life>& life, link::StepName step, int64_t deadline);
  Step first_step(link::StepName step);
  Step bring_up();
  void watch(const std::shared_ptr<Life>& life);
  void condemn(const std::shared_ptr<Life>& life, const std::string& why);
  void bury(const std::shared_ptr<Life>& life);
  void restart();

  Status take_control(Life* life, link::Frame frame);
  Status link_down(Life* life, const Status& why);
  void pass(uint32_t method, bus::Call* call);

  const ProcessOptions options_;
  const abi::InstanceSettings settings_;
  const abi::HostFacts& host_;
  const std::string uri_;
  std::vector<bus::Target*> offered_;
  bus::Target* target_ = nullptr;  // made by the first load
  std::vector<link::ServiceFacts> services_;
  const UniqueFd wake_;
  std::thread supervisor_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<Life> life_;  // guarded by mutex_, as what follows
  link::Settings told_;         // of each life
  std::string memory_held_by_;
  std::deque<std::function<void()>> tasks_;
  bool started_ = false;     // start() was kOk, or is tried again: ends are unexpected
  bool goes_on_ = false;     // the first start failed, and is tried again
  bool watching_ = false;    // the life is up, and looked after
  bool stop_asked_ = false;  // no life begins any more
  bool over_ = false;        // the supervisor is to end
  uint64_t restarts_ = 0;
  uint64_t buried_cpu_ = 0;
  std::string last_end_;
  std::chrono::nanoseconds delay_{};
};

}  // namespace berth::process
