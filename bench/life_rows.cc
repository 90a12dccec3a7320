// From create to delete: what a daemon and its shim add to the OCI runtime.
#include "machine.h"
#include "sides.h"

namespace berth::bench {
namespace {

/// Durations of steps of lives, in milliseconds.
struct Steps {
  std::vector<double> all, create, start, wait, remove;
};

void lead(Life& life, Steps* steps) {
  Stopwatch watch;
  life.create();
  const double create = watch.lap_milliseconds();
  life.start();
  const double start = watch.lap_milliseconds();
  life.wait();
  const double wait = watch.lap_milliseconds();
  life.remove();
  const double remove = watch.lap_milliseconds();
  steps->create.push_back(create);
  steps->start.push_back(start);
  steps->wait.push_back(wait);
  steps->remove.push_back(remove);
  steps->all.push_back(create + start + wait + remove);
}

void add_all(Table* table, Figure figure, size_t side, const std::vector<double>& values) {
  for (const double value : values) table->add(figure, side, value);
}

void add_quantiles(Table* table, const std::string& name, Aim aim, size_t side,
                   const std::vector<double>& values) {
  add_all(table, {name + ": p50, ms", Measure::kTime, aim, 0, 0.5}, side, values);
  add_all(table, {name + ": p99, ms", Measure::kTime, Aim::kNone, 0, 0.99}, side, values);
}

/// CPU time of each side, and of its daemon alone.
struct Cpu {
  std::vector<double> all, daemon;
};

Cpu cpu_of(Sides& sides, const Settings& settings) {
  be_idle(settings);  // shims end after their tasks are deleted
  Cpu cpu;
  for (size_t side = 0; side < sides.size(); ++side) {
    const DaemonProcess* daemon = sides[side].daemon();
    cpu.all.push_back(sides[side].cpu_milliseconds());
    cpu.daemon.push_back(daemon == nullptr ? 0 : daemon->cpu_milliseconds());
  }
  return cpu;
}

/// The bare runtime's, by lives of its own: a thread that joins a cgroup just before a life would
/// spare the runtime the wait for the kernel's grace period when it moves the container's process.
double bare_cpu_of(Sides& sides, const RuntimeProgram& runtime, int lives) {
  Side& side = sides[Sides::kBare];
  const double before = side.cpu_milliseconds();
  const auto worker = side.worker();
  Steps ignored;
  std::vector<std::unique_ptr<Life>> all;
  for (int i = 0; i < lives; ++i) {
    all.push_back(
        worker->life(runtime.name + "-cpu-" + std::to_string(i), {{"true"}, runtime.path}));
    all.back()->make();
  }
  {
    const auto counted = side.counted();
    for (const auto& life : all) lead(*life, &ignored);
  }
  for (const auto& life : all) life->unmake();
  return side.cpu_milliseconds() - before;
}

void add_cpu(Table* table, const std::string& runtime, const Cpu& before, const Cpu& after,
             double bare, int lives) {
  const std::string name = runtime + ": CPU for 1,000 lives with record and snapshot (" +
                           std::to_string(lives) + " a round, scaled), s: ";
  const auto per_thousand = [&](double milliseconds) { return milliseconds / lives; };
  const auto used = [&](size_t side) {
    return side == Sides::kBare ? bare : after.all[side] - before.all[side];
  };
  const Figure all{name + "all", Measure::kAmount, Aim::kNone};
  const Figure daemon{name + "the daemon", Measure::kAmount, Aim::kNone};
  const Figure above{name + "daemon and shim, which is all without the bare runtime's",
                     Measure::kAmount, Aim::kNone};
  for (size_t side = 0; side < after.all.size(); ++side) {
    if (used(side) <= 0) continue;  // not counted here
    table->add(all, side, per_thousand(used(side)));
    if (side == Sides::kBare) continue;
    table->add(daemon, side, per_thousand(after.daemon[side] - before.daemon[side]));
    table->add(above, side, per_thousand(used(side) - used(Sides::kBare)));
  }
}

void one_after_the_other(Sides& sides, const RuntimeProgram& runtime, const Settings& settings,
                         Table* table) {
  std::vector<std::unique_ptr<Worker>> workers;
  for (size_t side = 0; side < sides.size(); ++side) workers.push_back(sides[side].worker());
  std::vector<Steps> steps(sides.size());
  const Cpu before = cpu_of(sides, settings);
  for (int i = 0; i < settings.lives; ++i) {
    for (const size_t side : sides.shuffled()) {
      const auto life =
          workers[side]->life(runtime.name + "-" + std::to_string(i), {{"true"}, runtime.path});
      life->make();
      lead(*life, &steps[side]);
      life->unmake();
    }
  }
  const Cpu after = cpu_of(sides, settings);
  const std::string name = runtime.name + ", one after the other";
  for (size_t side = 0; side < sides.size(); ++side) {
    const Steps& of = steps[side];
    add_quantiles(table, name, Aim::kNearFloor, side, of.all);
    add_all(table, {name + ", of these create: p50, ms", Measure::kTime, Aim::kNone, 0, 0.5}, side,
            of.create);
    add_all(table, {name + ", of these start: p50, ms", Measure::kTime, Aim::kNone, 0, 0.5}, side,
            of.start);
    add_all(table, {name + ", of these wait: p50, ms", Measure::kTime, Aim::kNone, 0, 0.5}, side,
            of.wait);
    add_all(table, {name + ", of these delete: p50, ms", Measure::kTime, Aim::kNone, 0, 0.5}, side,
            of.remove);
    double sum = 0;
    for (const double milliseconds : of.all) sum += milliseconds;
    table->add({name + ": 1/s", Measure::kRate, Aim::kTwiceAsFast}, side,
               1000 * static_cast<double>(of.all.size()) / sum);
  }
  add_cpu(table, runtime.name, before, after, bare_cpu_of(sides, runtime, settings.lives),
          settings.lives);
}

void several_at_once(Sides& sides, const RuntimeProgram& runtime, const Settings& settings,
                     Table* table) {
  const int threads = settings.at_once;
  const int each = std::max(1, settings.lives / threads);
  const std::string name = runtime.name + ", " + std::to_string(threads) + " at once";
  for (const size_t side : sides.shuffled()) {
    std::vector<std::unique_ptr<Worker>> workers;
    std::vector<std::vector<std::unique_ptr<Life>>> lives(static_cast<size_t>(threads));
    for (size_t thread = 0; thread < lives.size(); ++thread) {
      workers.push_back(sides[side].worker());
      for (int i = 0; i < each; ++i) {
        lives[thread].push_back(workers[thread]->life(
            runtime.name + "-" + std::to_string(thread) + "-" + std::to_string(i),
            {{"true"}, runtime.path}));
        lives[thread].back()->make();
      }
    }
    std::vector<Steps> steps(lives.size());
    const double seconds = at_once(threads, [&](int number) {
      const auto thread = static_cast<size_t>(number);
      for (const auto& life : lives[thread]) lead(*life, &steps[thread]);
    });
    for (const Steps& of : steps) add_quantiles(table, name, Aim::kNearFloor, side, of.all);
    table->add({name + ": 1/s", Measure::kRate, Aim::kTwiceAsFast}, side, threads * each / seconds);
    for (const auto& of_thread : lives) {
      for (const auto& life : of_thread) life->unmake();
    }
  }
}

void lives(const Settings& settings, int, Results* results) {
  Sides sides(settings);
  Table& table = results->table(Sides::layout());
  for (const RuntimeProgram& runtime : sides.runtimes(settings, results)) {
    one_after_the_other(sides, runtime, settings, &table);
    several_at_once(sides, runtime, settings, &table);
  }
}

void stop_many(const Settings& settings, int, Results* results) {
  Sides sides(settings);
  Table& table = results->table(Sides::layout());
  const int count = settings.stopped_containers;
  for (const RuntimeProgram& runtime : sides.runtimes(settings, results)) {
    for (const size_t side : sides.shuffled()) {
      std::vector<std::unique_ptr<Worker>> workers;
      std::vector<std::unique_ptr<Life>> lives;
      for (int i = 0; i < count; ++i) {
        workers.push_back(sides[side].worker());
        lives.push_back(workers.back()->life(runtime.name + "-stop-" + std::to_string(i),
                                             {{"sleep", "3600"}, runtime.path}));
        lives.back()->make();
      }
      at_once(settings.at_once, [&](int thread) {
        for (int i = thread; i < count; i += settings.at_once) {
          lives[static_cast<size_t>(i)]->create();
          lives[static_cast<size_t>(i)]->start();
        }
      });
      be_idle(settings);
      const double seconds = at_once(count, [&](int i) {
        lives[static_cast<size_t>(i)]->kill();
        lives[static_cast<size_t>(i)]->remove();
      });
      table.add({runtime.name + ": kill and delete of " + std::to_string(count) +
                     " running containers at once, ms",
                 Measure::kTime, Aim::kNone},
                side, 1000 * seconds);
      for (const auto& life : lives) life->unmake();
    }
  }
}

}  // namespace

std::vector<Row> life_rows() {
  return {{"lives-and-cpu", "create, start, wait, delete by each daemon, shim and OCI runtime",
           needs_sides, nullptr, lives},
          {"stop-many", "kill and delete of many running containers at once", needs_sides, nullptr,
           stop_many}};
}

}  // namespace berth::bench
