#include "rounds.h"

#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <thread>

namespace berth::crash {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::seconds;

constexpr size_t kWitnesses = 2;
constexpr uint32_t kWitnessStatus = 42;
constexpr uint32_t kNeverRan = 255;
constexpr uint32_t kInitFailed = 1;
constexpr auto kPatience = seconds(10);

template <typename Check>
bool soon(Check check) {
  const auto end = Clock::now() + kPatience;
  while (!check()) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(milliseconds(20));
  }
  return true;
}

}  // namespace

Rounds::Rounds(Daemon* daemon, RoundSettings settings)
    : daemon_(daemon), settings_(settings), random_(settings.seed), events_(*daemon) {
  const std::string rootfs = daemon_->folder() + "/rootfs-of-all";
  std::filesystem::create_directories(rootfs + "/bin");
  for (const char* name : {"/proc", "/dev"}) std::filesystem::create_directory(rootfs + name);
  std::filesystem::copy_file("/bin/busybox", rootfs + "/bin/busybox");
  for (size_t i = 0; i < kWitnesses; ++i) {
    witnesses_.push_back(make(90 + 2 * i));
    witnesses_.back()->begin();
    witness_pids_.push_back(witnesses_.back()->pid());
  }
  for (size_t i = 0; i < settings_.containers; ++i) containers_.push_back(make(i));
  // The witness's shell sleeps in a child that comes and goes.
  std::this_thread::sleep_for(milliseconds(100));
  traces_before_ = traces(daemon_->folder(), daemon_->space(), daemon_->pid());
}

std::unique_ptr<ContainerLife> Rounds::make(size_t number, const std::string& runtime) {
  Plan plan;
  plan.id = "c" + std::to_string(number);
  plan.rootfs = daemon_->folder() + "/rootfs-of-all";
  plan.execs = number % 2 == 0;
  plan.kill_all = number % 4 == 1;
  plan.hooks = number % 3 == 1;
  if (settings_.with_crun && number % 5 == 4) plan.runtime = "crun";
  if (!runtime.empty()) plan.runtime = runtime;
  auto container = std::make_unique<ContainerLife>(*daemon_, plan);
  container->make_record();
  return container;
}

void Rounds::kill_one(Victim victim) {
  std::this_thread::sleep_for(milliseconds(random_() % 700));
  if (victim == Victim::kDaemon) return daemon_->kill();
  std::vector<pid_t> candidates;
  for (const pid_t pid : descendants()) {
    if (pid == daemon_->pid()) continue;
    const std::string words = command_line(pid);
    const bool shim = words.find("containerd-shim-runc-v2 ") != std::string::npos &&
                      words.find(" -id c9") == std::string::npos;
    const bool runtime = words.find("--root /run/containerd/runc/") != std::string::npos;
    if (victim == Victim::kShim ? shim : runtime) candidates.push_back(pid);
  }
  if (!candidates.empty()) ::kill(candidates[random_() % candidates.size()], SIGKILL);
}

void Rounds::run(const std::vector<Armed>& points, Victim victim) {
  events_.synchronize();
  const size_t events_before = events_.count();
  const int life_before = daemon_->life();
  std::vector<Outcome> outcomes(containers_.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < containers_.size(); ++i) {
    const auto delay = milliseconds(random_() % 500);
    threads.emplace_back([&, i, delay] {
      std::this_thread::sleep_for(delay);
      try {
        outcomes[i].processes = containers_[i]->live();
      } catch (const std::exception& error) {
        outcomes[i].error = error.what();
      }
    });
  }
  // Some are on their way by now, at different steps.
  std::this_thread::sleep_for(milliseconds(random_() % 250));
  arm(daemon_->fault_folder(), points);
  armed_ = true;
  if (victim != Victim::kNobody) kill_one(victim);
  for (std::thread& thread : threads) thread.join();

  const int life = daemon_->life();
  const bool daemon_lived = life == life_before;
  counts_.killed_daemons += static_cast<size_t>(life - life_before);
  std::vector<ProcessLife> processes;
  std::string errors;
  for (const Outcome& outcome : outcomes) {
    if (!outcome.error.empty()) errors += "\n  " + outcome.error;
    processes.insert(processes.end(), outcome.processes.begin(), outcome.processes.end());
  }
  if (!errors.empty()) throw std::runtime_error("containers do not end:" + errors);
  counts_.lives += outcomes.size();
  Dying dying;
  for (const Armed& armed : points) {
    dying.runtimes = dying.runtimes || armed.point.starts_with("runtime.");
    dying.others = dying.others || !armed.point.starts_with("daemon.");
  }
  dying.runtimes = dying.runtimes || victim == Victim::kRuntime;
  dying.others = dying.others || victim == Victim::kShim || victim == Victim::kRuntime;
  check_processes(processes, events_before, daemon_lived, dying);
  check_leaks();
  check_witnesses();
}

void Rounds::check_processes(const std::vector<ProcessLife>& processes, size_t events_before,
                             bool daemon_lived, const Dying& dying) {
  const auto told_of = [&](const ProcessLife& process, const std::vector<SeenExit>& exits) {
    std::vector<SeenExit> found;
    for (const SeenExit& exit : exits) {
      if (exit.container == process.container && exit.process == process.id) found.push_back(exit);
    }
    return found;
  };
  // A daemon that lived through the round has told every end; some are still under way.
  (void)soon([&] {
    const auto exits = events_.exits(events_before);
    return !daemon_lived || std::all_of(processes.begin(), processes.end(), [&](const auto& one) {
      return !one.started || one.waited == kNeverRan || !told_of(one, exits).empty();
    });
  });
  if (daemon_lived) std::this_thread::sleep_for(milliseconds(30));  // for what should not come
  const auto exits = events_.exits(events_before, &counts_.repeated);
  std::string wrong;
  for (const ProcessLife& process : processes) {
    const std::string name = "\n  " + process.container + "/" + process.id + ": ";
    auto told = told_of(process, exits);
    ++counts_.processes;
    counts_.told += told.size();
    // What has never run has this status for who waits for it, and no event.
    if (process.maybe_refused && dying.others && process.waited == kNeverRan && told.empty()) {
      ++counts_.starts_failed;
      continue;
    }
    if (!process.started) ++counts_.starts_failed;
    if (process.started && told.empty()) ++counts_.missed;
    const auto possible = [&](uint32_t status) {
      // A runtime's init whose start was killed, and has failed, finds nobody at the other end.
      if (status == kInitFailed && dying.runtimes && !process.started) return true;
      return status == process.true_status ||
             (status == 128 + SIGKILL &&
              (dying.others || process.may_be_killed || !process.started));
    };
    // A creation that a daemon did not live to acknowledge was undone, and is no life of this one.
    const uint32_t last = told.empty() ? 0 : told.back().pid;
    std::erase_if(told, [&](const SeenExit& exit) {
      return !daemon_lived && exit.pid != last && exit.status == 128 + SIGKILL;
    });
    if (told.size() > 1) {
      wrong += name + "its end is told " + std::to_string(told.size()) + " times:";
      for (const SeenExit& exit : told) {
        wrong += " " + std::to_string(exit.status) + " (pid " + std::to_string(exit.pid) + ")";
      }
    }
    if (told.empty() && process.started && daemon_lived) wrong += name + "no event tells its end";
    if (!told.empty() && !possible(told[0].status)) {
      wrong += name + "told is " + std::to_string(told[0].status);
    }
    if (process.waited && !possible(*process.waited)) {
      wrong += name + "waited for is " + std::to_string(*process.waited);
    }
    if (process.waited && !told.empty() && *process.waited != told[0].status) {
      wrong += name + "the event has " + std::to_string(told[0].status) + " and Wait has " +
               std::to_string(*process.waited);
    }
    if (process.unknown && daemon_lived && process.started && told.empty()) {
      wrong += name + "nobody knows how it ended";
    }
  }
  if (!wrong.empty()) throw std::runtime_error("ends are not told once and truly:" + wrong);
}

void Rounds::check_leaks() {
  std::set<std::string> left;
  // Clients are answered before the last of a task is gone.
  const bool clean = soon([&] {
    left.clear();
    for (const std::string& trace : traces(daemon_->folder(), daemon_->space(), daemon_->pid())) {
      const bool of_witness = trace.find("busybox sleep 0.05") != std::string::npos;
      if (!traces_before_.contains(trace) && !of_witness) left.insert(trace);
    }
    return left.empty();
  });
  if (clean) return;
  std::string text = "left behind:";
  for (const std::string& trace : left) {
    text += "\n  " + trace;
    for (const std::string& line : details(trace)) text += "\n    " + line;
  }
  throw std::runtime_error(text);
}

void Rounds::check_witnesses() {
  for (size_t i = 0; i < witnesses_.size(); ++i) {
    if (const uint32_t pid = witnesses_[i]->pid(); pid != witness_pids_[i]) {
      throw std::runtime_error("a container that nobody touched had the process " +
                               std::to_string(witness_pids_[i]) + " and has " +
                               std::to_string(pid));
    }
  }
}

void Rounds::forgive() {
  forgiven_ = true;
  traces_before_ = traces(daemon_->folder(), daemon_->space(), daemon_->pid());
}

void Rounds::finish() {
  for (const auto& witness : witnesses_) {
    if (const uint32_t status = witness->finish(); status != kWitnessStatus) {
      throw std::runtime_error("a container that nobody touched ended with " +
                               std::to_string(status));
    }
  }
  if (forgiven_) return;
  traces_before_.clear();
  check_leaks();
}

}  // namespace berth::crash
