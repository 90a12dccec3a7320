// kill -9 of the daemon, of shims and of the OCI runtime, at every fault point and at random
// moments, with containers under way. README.md says what holds.
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>

#include "rounds.h"
#include "supervisor.h"

namespace berth::crash {
namespace {

constexpr int kSkipped = 77;
constexpr double kReadyMilliseconds = 2000;
constexpr size_t kMostFailures = 10;
constexpr std::array<std::string_view, 4> kVictims = {"nobody", "daemon", "shim", "runtime"};
constexpr size_t kPerRound = 4;  // points that one round visits

struct Options {
  size_t rounds = 0;
  unsigned seed = 1;
  std::string only;
  std::string victim;
  bool crun = false;
};

class Test {
 public:
  Test(Daemon* daemon, const Options& options)
      : daemon_(daemon),
        options_(options),
        random_(options.seed),
        rounds_(daemon, {10, options.crun, options.seed}) {}

  void stopped_shim() {
    rounds_.freeze_one();
    std::printf("a stopped shim disturbs nobody\n");
    rounds_.orphan_start();
    std::printf("a shim that is started for a dead daemon does not stay\n");
    rounds_.kill_shims_of_frozen();
    std::printf("a frozen container ends with its shim\n");
  }

  /// Every point once. A round that leaves points armed is tried again: a container has to come by.
  void all_points() {
    std::vector<std::string> todo;
    for (const std::string& program : {daemon_->folder() + "/plugins/berth-plugin-runtime-runc.so",
                                       std::string(FAULTS) + "/shim/containerd-shim-runc-v2"}) {
      for (const std::string& point : points_in(program)) {
        if (point.find(options_.only) != std::string::npos) todo.push_back(point);
      }
    }
    if (!options_.victim.empty()) todo.clear();
    std::printf("%zu fault points\n", todo.size());
    std::shuffle(todo.begin(), todo.end(), random_);
    while (!todo.empty()) {
      std::vector<std::string> group(
          todo.begin(), todo.begin() + static_cast<long>(std::min(todo.size(), kPerRound)));
      todo.erase(todo.begin(), todo.begin() + static_cast<long>(group.size()));
      for (int attempt = 1; !group.empty(); ++attempt) {
        if (attempt > 4) {
          std::printf("FAILED: never reached: %s\n", listed(group).c_str());
          ++failures_;
          break;
        }
        one(group, Victim::kNobody);
        const auto armed = still_armed(daemon_->fault_folder());
        disarm(daemon_->fault_folder());
        std::erase_if(group, [&](const std::string& point) {
          return std::find(armed.begin(), armed.end(), point) == armed.end();
        });
      }
    }
  }

  /// Random points, random victims, until there were so many rounds.
  void random_rounds() {
    std::vector<std::string> points =
        points_in(daemon_->folder() + "/plugins/berth-plugin-runtime-runc.so");
    const auto more = points_in(std::string(FAULTS) + "/shim/containerd-shim-runc-v2");
    points.insert(points.end(), more.begin(), more.end());
    while (done_ < options_.rounds) {
      std::shuffle(points.begin(), points.end(), random_);
      const auto count = options_.victim.empty() ? static_cast<long>(random_() % 4) : 0;
      const size_t victim = random_() % kVictims.size();
      if (!options_.victim.empty() && options_.victim != kVictims[victim]) continue;
      one({points.begin(), points.begin() + count}, static_cast<Victim>(victim));
      disarm(daemon_->fault_folder());
    }
  }

  void finish() {
    rounds_.finish();
    const bool stopped = daemon_->stop();
    auto times = daemon_->ready_times();
    std::sort(times.begin(), times.end());
    const Rounds::Counts& counts = rounds_.counts();
    std::printf(
        "%zu rounds: %zu lives of containers, %zu processes, %zu ends told, %zu starts refused, "
        "%zu daemons killed, with which %zu ends went untold and after which %zu were told again; "
        "ready after %.0f ms in the middle, %.0f ms at most\n",
        done_, counts.lives, counts.processes, counts.told, counts.starts_failed,
        counts.killed_daemons, counts.missed, counts.repeated, times[times.size() / 2],
        times.back());
    if (failures_ > 0) throw std::runtime_error(std::to_string(failures_) + " rounds");
    if (!stopped) throw std::runtime_error("berthd did not end properly when it was asked to");
    if (times.back() > kReadyMilliseconds) {
      throw std::runtime_error("berthd took longer than 2 s to be ready");
    }
  }

 private:
  static std::string listed(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
    return text;
  }

  void one(const std::vector<std::string>& points, Victim victim) {
    std::vector<Armed> armed;
    for (const std::string& point : points) {
      const bool command = point.starts_with("runtime.");
      const std::string order = command ? std::to_string(random_() % 60'000) : "kill";
      for (Armed& one : with_companions(point, order)) armed.push_back(std::move(one));
    }
    std::string text = listed(points);
    if (victim != Victim::kNobody) {
      text += (text.empty() ? "" : ", ") + std::string(kVictims[static_cast<size_t>(victim)]);
    }
    const auto began = std::chrono::steady_clock::now();
    const size_t log_before = daemon_->log_size();
    try {
      rounds_.run(armed, victim);
    } catch (const std::exception& error) {
      std::printf("FAILED: round %zu (%s): %s\n", done_ + 1, text.c_str(), error.what());
      std::printf("berthd's log of this round:\n%s\n", daemon_->log_since(log_before).c_str());
      if (++failures_ >= kMostFailures) throw std::runtime_error("too much of that");
      rounds_.forgive();
    }
    ++done_;
    const auto took =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    std::printf("%4zu  %.1f s  %s\n", done_, took, text.c_str());
    std::fflush(stdout);
  }

  Daemon* const daemon_;
  const Options options_;
  std::mt19937 random_;
  Rounds rounds_;
  size_t done_ = 0;
  size_t failures_ = 0;
};

/// Debian's crun refuses a machine with cgroups of both versions.
bool hide_unified_cgroup() {
  if (::unshare(CLONE_NEWNS) != 0) return false;
  if (::mount("", "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) return false;
  constexpr const char* kUnified = "/sys/fs/cgroup/unified";
  if (!std::filesystem::exists(kUnified)) return true;
  // Crun makes folders there all the same; they are to be nobody else's.
  (void)::umount2(kUnified, MNT_DETACH);
  return ::mount("none", kUnified, "tmpfs", 0, nullptr) == 0;
}

int run_rounds(const Options& options, const Territory& own) {
  Daemon daemon({BERTHD, PLUGINS, FAULTS}, own.folder, own.space);
  try {
    Test test(&daemon, options);
    if (options.only.empty() && options.victim.empty()) test.stopped_shim();
    test.all_points();
    test.random_rounds();
    test.finish();
  } catch (const std::exception& error) {
    std::printf("FAILED: %s\n\nThe end of berthd's log:\n%s\n", error.what(),
                daemon.log_end().c_str());
    return 1;
  }
  return 0;
}

int run(const Options& options) {
  if (::geteuid() != 0) {
    std::printf("SKIPPED: containers need root\n");
    return kSkipped;
  }
  for (const char* needed : {"/bin/busybox", "/usr/sbin/runc"}) {
    if (!std::filesystem::exists(needed)) {
      std::printf("SKIPPED: there is no %s\n", needed);
      return kSkipped;
    }
  }
  if (options.crun && !hide_unified_cgroup()) {
    std::printf("SKIPPED: cannot make a mount namespace for crun\n");
    return kSkipped;
  }
  return supervise([&](const Territory& own) { return run_rounds(options, own); });
}

}  // namespace
}  // namespace berth::crash

int main(int argc, char** argv) {
  CLI::App app("Kills the daemon, shims and runtimes while containers are under way.");
  berth::crash::Options options;
  app.add_option("--rounds", options.rounds, "rounds in all; those beyond the points are random")
      ->envname("BERTH_CRASH_ROUNDS");
  app.add_option("--seed", options.seed, "of what is random");
  app.add_option("--only", options.only, "points with this text in their names");
  app.add_option("--victim", options.victim,
                 "only random rounds, with no other victim: daemon, shim or runtime");
  app.add_flag("--crun", options.crun, "every fifth container is crun's");
  CLI11_PARSE(app, argc, argv);
  return berth::crash::run(options);
}
