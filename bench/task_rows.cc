// Containers that live: how fast they come and go, and what the daemon weighs when fifty run.
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "container.h"
#include "machine.h"
#include "rows.h"

namespace berth::bench {
namespace {

constexpr char kImage[] = "busybox";
constexpr int kAtOnce = 8;

void memory(const DaemonProcess& daemon, const Settings& settings, Report report) {
  const int count = settings.running_containers;
  const std::string name = "with " + std::to_string(count) + " running containers: ";
  std::vector<Container> containers;
  for (int i = 0; i < count; ++i) containers.emplace_back("running-" + std::to_string(i));
  const auto share = [&](int thread, const std::function<void(Container&)>& work) {
    for (size_t i = static_cast<size_t>(thread); i < containers.size(); i += kAtOnce) {
      work(containers[i]);
    }
  };
  Client client(daemon.address(), daemon.space());
  unpack_busybox(client, find_program("busybox"), kImage);
  at_once(daemon, kAtOnce, [&](Client& one, int thread) {
    share(thread, [&](Container& container) {
      container.make(one, kImage);
      container.create_task(one);
      container.start(one);
    });
  });
  be_idle(settings);
  const Memory own = daemon.memory();
  const Memory shims = daemon.shim_memory();
  report.add(name + "resident, kB", Measure::kAmount, Aim::kUnderHalf, own.resident);
  report.add(name + "proportional, kB", Measure::kAmount, Aim::kUnderHalf, own.proportional);
  report.add(name + "private dirty, kB", Measure::kAmount, Aim::kUnderHalf, own.private_dirty);
  report.add(name + "shims (the same program), proportional, kB", Measure::kAmount, Aim::kNone,
             shims.proportional);
  at_once(daemon, kAtOnce, [&](Client& one, int thread) {
    share(thread, [&](Container& container) {
      container.kill(one);
      container.delete_task(one);
      container.remove(one);
    });
  });
}

void sequential(const DaemonProcess& daemon, const Settings& settings, Report* report) {
  std::vector<double> make, create, start, kill, end, remove;
  const double cpu = daemon.cpu_milliseconds();
  const double seconds = at_once(daemon, 1, [&](Client& client, int) {
    for (int i = 0; i < settings.tasks; ++i) {
      Container container("one-" + std::to_string(i));
      Stopwatch watch;
      container.make(client, kImage);
      make.push_back(watch.lap_milliseconds());
      container.create_task(client);
      create.push_back(watch.lap_milliseconds());
      container.start(client);
      start.push_back(watch.lap_milliseconds());
      container.kill(client);
      kill.push_back(watch.lap_milliseconds());
      container.delete_task(client);
      end.push_back(watch.lap_milliseconds());
      container.remove(client);
      remove.push_back(watch.lap_milliseconds());
    }
  });
  report->add("containers made, run, killed and deleted, sequential, 1/s", Measure::kRate,
              Aim::kNeverWorse, settings.tasks / seconds);
  const auto step = [&](const char* name, const std::vector<double>& values) {
    report->add(std::string("of these: ") + name + ", ms", Measure::kTime, Aim::kNone,
                quantile(values, 0.5));
  };
  step("snapshot and record", make);
  step("Tasks.Create", create);
  step("Tasks.Start", start);
  step("Tasks.Kill and Wait", kill);
  step("Tasks.Delete", end);
  step("record and snapshot removed", remove);
  report->add("of these: daemon's CPU for one, ms", Measure::kAmount, Aim::kNone,
              (daemon.cpu_milliseconds() - cpu) / settings.tasks);
}

void tasks(const DaemonProcess& daemon, const Settings& settings, Report report) {
  Client client(daemon.address(), daemon.space());
  unpack_busybox(client, find_program("busybox"), kImage);
  sequential(daemon, settings, &report);
  const int each = std::max(1, settings.tasks / kAtOnce);
  const double seconds = at_once(daemon, kAtOnce, [&](Client& one, int thread) {
    for (int i = 0; i < each; ++i) {
      Container container("many-" + std::to_string(thread) + "-" + std::to_string(i));
      container.make(one, kImage);
      container.create_task(one);
      container.start(one);
      container.kill(one);
      container.delete_task(one);
      container.remove(one);
    }
  });
  report.add("containers made, run, killed and deleted, 8 at once, 1/s", Measure::kRate,
             Aim::kNeverWorse, each * kAtOnce / seconds);
}

}  // namespace

std::string needs_containers(const Settings& settings) {
  if (::geteuid() != 0) return "containers need root";
  if (::access((settings.go_shim + "/containerd-shim-runc-v2").c_str(), X_OK) != 0) {
    return "containerd-shim-runc-v2 is not in " + settings.go_shim;
  }
  if (find_program("runc").empty()) return "runc is not in PATH";
  return find_program("busybox").empty() ? "busybox is not there (Debian: busybox-static)" : "";
}

std::vector<Row> task_rows() {
  return {{"running-memory", "of a daemon with many running containers", needs_containers, memory},
          {"tasks", "the whole life of a container, with the same shim", needs_sides, tasks,
           nullptr, true}};
}

}  // namespace berth::bench
