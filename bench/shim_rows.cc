// What a shim weighs, by the number of containers that run.
#include <thread>

#include "machine.h"
#include "sides.h"

namespace berth::bench {
namespace {

constexpr int kAtOnce = 8;

const Layout& layout() {
  static const Layout kLayout{"Memory of idle shims", {"Berth, own shim", "containerd, Go shim"}};
  return kLayout;
}

void measure_shims(Side* side, size_t index, int count, const Settings& settings, Table* table) {
  const DaemonProcess& daemon = *side->daemon();
  const Memory before = daemon.memory();
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<std::unique_ptr<Life>> lives;
  for (size_t thread = 0; thread < kAtOnce; ++thread) workers.push_back(side->worker());
  for (int i = 0; i < count; ++i) {
    lives.push_back(
        workers[static_cast<size_t>(i) % kAtOnce]->life("idle-" + std::to_string(i), {}));
  }
  const auto share = [&](const std::function<void(Life&)>& work) {
    at_once(kAtOnce, [&](int thread) {
      for (int i = thread; i < count; i += kAtOnce) work(*lives[static_cast<size_t>(i)]);
    });
  };
  share([](Life& life) {
    life.make();
    life.create();
    life.start();
  });
  be_idle(settings);
  const Memory own = daemon.memory();
  const Memory shims = daemon.shim_memory();
  if (daemon.shim_count() != static_cast<size_t>(count)) {
    throw std::runtime_error(std::to_string(daemon.shim_count()) + " shims for " +
                             std::to_string(count) + " containers");
  }
  const std::string name = std::to_string(count) + (count == 1 ? " container: " : " containers: ");
  constexpr double kWanted = 600;  // kB
  table->add({name + "each shim, private dirty, kB", Measure::kAmount, Aim::kAtMost, kWanted},
             index, shims.private_dirty / count);
  table->add({name + "each shim, proportional, kB", Measure::kAmount, Aim::kNone}, index,
             shims.proportional / count);
  table->add({name + "each shim, resident, kB", Measure::kAmount, Aim::kNone}, index,
             shims.resident / count);
  table->add(
      {name + "daemon, private dirty, more than without any, kB", Measure::kAmount, Aim::kNone},
      index, own.private_dirty - before.private_dirty);
  share([](Life& life) {
    life.kill();
    life.remove();
    life.unmake();
  });
}

void memory(const Settings& settings, int round, Results* results) {
  Table& table = results->table(layout());
  for (const int count : settings.shim_counts) {
    for (const int index : {round % 2, 1 - round % 2}) {
      const Kind kind = index == 0 ? Kind::kBerth : Kind::kContainerd;
      measure_shims(start_side(settings, kind, kind == Kind::kBerth).get(),
                    static_cast<size_t>(index), count, settings, &table);
    }
  }
}

}  // namespace

std::vector<Row> shim_rows() {
  return {{"shim-memory", "of an idle shim, and of each of many", needs_sides, nullptr, memory}};
}

}  // namespace berth::bench
