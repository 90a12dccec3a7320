// The daemon by itself: how fast it starts, what it weighs.
#include <thread>

#include "rows.h"

namespace berth::bench {
namespace {

std::string always(const Settings&) { return {}; }

void start(const DaemonProcess& daemon, const Settings&, Report report) {
  report.add("start to first answer, ms", Measure::kTime, Aim::kNeverWorse,
             daemon.start_milliseconds());
}

void idle_memory(const DaemonProcess& daemon, const Settings&, Report report) {
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  const Memory memory = daemon.memory();
  report.add("idle: resident, kB", Measure::kAmount, Aim::kUnderHalf, memory.resident);
  report.add("idle: proportional, kB", Measure::kAmount, Aim::kUnderHalf, memory.proportional);
  report.add("idle: private dirty, kB", Measure::kAmount, Aim::kUnderHalf, memory.private_dirty);
}

}  // namespace

std::vector<Row> daemon_rows() {
  return {{"start", "from exec to the first answer of Version", always, start},
          {"idle-memory", "of a daemon that did nothing yet", always, idle_memory}};
}

}  // namespace berth::bench
