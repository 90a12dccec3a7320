// More processes in a container that runs: how fast, and whether they leave something behind.
#include <thread>

#include "machine.h"
#include "sides.h"

namespace berth::bench {
namespace {

constexpr int kAtOnce = 8;  // that keep the rate of `exec-growth`

/// A container that runs for as long as this exists.
class Running {
 public:
  Running(Worker* worker, const std::string& id, const std::string& runtime)
      : life_(worker->life(id, {{"sleep", "3600"}, runtime})) {
    life_->make();
    life_->create();
    life_->start();
  }
  void end() {
    life_->kill();
    life_->remove();
    life_->unmake();
  }
  void exec(const std::string& exec_id) { life_->exec(exec_id); }

 private:
  std::unique_ptr<Life> life_;
};

void measure_execs(Sides& sides, const RuntimeProgram& runtime, const Settings& settings,
                   Table* table) {
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<std::unique_ptr<Running>> containers;
  for (size_t side = 0; side < sides.size(); ++side) {
    workers.push_back(sides[side].worker());
    containers.push_back(
        std::make_unique<Running>(workers[side].get(), runtime.name + "-exec", runtime.path));
  }
  const std::string name = runtime.name + ", exec of true";
  const Figure p50{name + ", one after the other: p50, ms", Measure::kTime, Aim::kNone, 0, 0.5};
  const Figure p99{name + ", one after the other: p99, ms", Measure::kTime, Aim::kNone, 0, 0.99};
  for (int i = 0; i < settings.execs; ++i) {
    for (const size_t side : sides.shuffled()) {
      Stopwatch watch;
      containers[side]->exec("one-" + std::to_string(i));
      const double milliseconds = watch.lap_milliseconds();
      table->add(p50, side, milliseconds);
      table->add(p99, side, milliseconds);
    }
  }
  const int each = std::max(1, settings.execs / settings.at_once);
  for (const size_t side : sides.shuffled()) {
    // The life of a container belongs to one thread; other threads have connections of their own
    // to the same container.
    std::vector<std::unique_ptr<Worker>> own;
    std::vector<std::unique_ptr<Life>> lives;
    for (int thread = 0; thread < settings.at_once; ++thread) {
      own.push_back(sides[side].worker());
      lives.push_back(own.back()->life(runtime.name + "-exec", {{"sleep", "3600"}, runtime.path}));
    }
    const double seconds = at_once(settings.at_once, [&](int thread) {
      for (int i = 0; i < each; ++i) {
        lives[static_cast<size_t>(thread)]->exec("many-" + std::to_string(thread) + "-" +
                                                 std::to_string(i));
      }
    });
    table->add({name + ", " + std::to_string(settings.at_once) + " at once: 1/s", Measure::kRate,
                Aim::kNone},
               side, settings.at_once * each / seconds);
  }
  for (const auto& container : containers) container->end();
}

void execs(const Settings& settings, int, Results* results) {
  Sides sides(settings);
  Table& table = results->table(Sides::layout());
  for (const RuntimeProgram& runtime : sides.runtimes(settings, results)) {
    measure_execs(sides, runtime, settings, &table);
  }
}

const Layout& growth_layout() {
  static const Layout kLayout{"Execs for a while, in one container",
                              {"Berth, own shim", "containerd, Go shim"}};
  return kLayout;
}

/// So many a second from several threads, each at its own times. How many a second it really was.
double keep_execing(Side* side, const std::string& id, const std::string& runtime, double seconds,
                    int per_second, const std::string& prefix) {
  const int each = std::max(1, static_cast<int>(seconds * per_second / kAtOnce));
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<std::unique_ptr<Life>> lives;
  for (size_t thread = 0; thread < kAtOnce; ++thread) {
    workers.push_back(side->worker());
    lives.push_back(workers.back()->life(id, {{"sleep", "3600"}, runtime}));
  }
  const auto begin = std::chrono::steady_clock::now();
  const double passed = at_once(kAtOnce, [&](int thread) {
    for (int i = 0; i < each; ++i) {
      const double due = (static_cast<double>(i) * kAtOnce + thread) / per_second;
      std::this_thread::sleep_until(begin + std::chrono::duration_cast<std::chrono::nanoseconds>(
                                                std::chrono::duration<double>(due)));
      lives[static_cast<size_t>(thread)]->exec(prefix + std::to_string(thread) + "-" +
                                               std::to_string(i));
    }
  });
  return each * kAtOnce / passed;
}

void measure_growth(Side* side, size_t index, const RuntimeProgram& runtime,
                    const Settings& settings, Table* table) {
  const DaemonProcess& daemon = *side->daemon();
  const auto worker = side->worker();
  const std::string id = "busy";
  Running container(worker.get(), id, runtime.path);
  // The first ones fill what is kept for good.
  keep_execing(side, id, runtime.path, 1, settings.execs_per_second, "first-");
  be_idle(settings);
  const Memory daemon_before = daemon.memory(), shim_before = daemon.shim_memory();
  const double rate = keep_execing(side, id, runtime.path, settings.exec_seconds,
                                   settings.execs_per_second, "more-");
  be_idle(settings);
  const Memory daemon_after = daemon.memory(), shim_after = daemon.shim_memory();
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%.0f s", settings.exec_seconds);
  const std::string name = std::to_string(settings.execs_per_second) + " execs a second for " +
                           seconds + " with " + runtime.name + ": ";
  const auto add = [&](const std::string& what, double value, double limit) {
    table->add({name + what, Measure::kAmount, limit < 0 ? Aim::kNone : Aim::kAtMost, limit}, index,
               value);
  };
  table->add({name + "reached, 1/s", Measure::kRate, Aim::kNone}, index, rate);
  add("the shim's private dirty memory before, kB", shim_before.private_dirty, -1);
  add("its growth, kB", shim_after.private_dirty - shim_before.private_dirty, 64);
  add("growth of its descriptors", shim_after.descriptors - shim_before.descriptors, 0);
  add("the daemon's private dirty memory before, kB", daemon_before.private_dirty, -1);
  add("growth of it, kB", daemon_after.private_dirty - daemon_before.private_dirty, 256);
  add("growth of its open descriptors", daemon_after.descriptors - daemon_before.descriptors, 0);
  container.end();
}

void growth(const Settings& settings, int round, Results* results) {
  if (round > 0) return;  // it is long, and says the same each time
  const auto runtimes = usable_runtimes(
      BareRuntime(settings.directory + "/bare", settings.space + "-bare"), settings, results);
  if (runtimes.empty()) return;  // noted
  // The fastest: the rate is not to be limited by the runtime.
  for (const Kind kind : {Kind::kBerth, Kind::kContainerd}) {
    measure_growth(start_side(settings, kind, kind == Kind::kBerth).get(),
                   static_cast<size_t>(kind), runtimes.back(), settings,
                   &results->table(growth_layout()));
  }
}

}  // namespace

std::vector<Row> exec_rows() {
  return {
      {"execs", "exec of true by each daemon, shim and OCI runtime", needs_sides, nullptr, execs},
      {"exec-growth", "memory and descriptors before and after many execs", needs_sides, nullptr,
       growth}};
}

}  // namespace berth::bench
