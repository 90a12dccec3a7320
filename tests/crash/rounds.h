// Rounds: containers under way, something is killed, and afterwards all is as if nothing had been.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "containers.h"
#include "daemon.h"
#include "events.h"
#include "points.h"

namespace berth::crash {

struct RoundSettings {
  size_t containers = 10;
  bool with_crun = false;
  unsigned seed = 1;
};

/// What is killed beside fault points, at a random moment of a round.
enum class Victim { kNobody, kDaemon, kShim, kRuntime };

class Rounds {
 public:
  /// Makes the containers' records and the witnesses, whose tasks nobody touches.
  Rounds(Daemon* daemon, RoundSettings settings);

  /// One round; throws std::runtime_error, which says what is wrong. Points that no process came to
  /// stay armed.
  void run(const std::vector<Armed>& points, Victim victim);
  /// A shim's program that is still starting the shim when its daemon has died, and goes on while
  /// the next daemon has looked for the shim and found none.
  void orphan_start();
  /// A shim that is stopped: the daemon's start and all other containers do not notice, clients are
  /// told of it, and it goes on when it may.
  void freeze_one();
  /// A shim that dies when its container is frozen, as a runtime leaves it that is killed in
  /// `kill --all`: the container is thawed and ends. For every runtime.
  void kill_shims_of_frozen();
  /// What a failed round has left is nobody else's fault.
  void forgive();
  /// Ends the witnesses, who must not have noticed anything, and looks for leaks once more.
  void finish();

  struct Counts {
    size_t lives = 0, processes = 0, told = 0, killed_daemons = 0, starts_failed = 0, repeated = 0,
           missed = 0;
  };
  const Counts& counts() const { return counts_; }

 private:
  struct Outcome {
    std::vector<ProcessLife> processes;
    std::string error;
  };

  /// What a round kills beside the daemon, which costs no process its status.
  struct Dying {
    bool runtimes = false;
    bool others = false;  // those and shims
  };

  std::unique_ptr<ContainerLife> make(size_t number, const std::string& runtime = {});
  void kill_one(Victim victim);
  void check_processes(const std::vector<ProcessLife>& processes, size_t events_before,
                       bool daemon_lived, const Dying& dying);
  void check_leaks();
  void check_witnesses();

  Daemon* const daemon_;
  const RoundSettings settings_;
  std::mt19937 random_;
  Events events_;
  std::vector<std::unique_ptr<ContainerLife>> containers_;
  std::vector<std::unique_ptr<ContainerLife>> witnesses_;
  std::vector<uint32_t> witness_pids_;
  std::set<std::string> traces_before_;
  bool forgiven_ = false;
  std::atomic<bool> armed_ = false;  // the points of the round under way
  Counts counts_;
};

}  // namespace berth::crash
