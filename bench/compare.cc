// Berth and containerd side by side, the same client, rounds interleaved: medians and ratios.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <thread>
#include <vector>

#include "client.h"
#include "daemon_process.h"

namespace berth::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Settings {
  std::string berthd;
  std::string containerd = "/usr/bin/containerd";
  int rounds = 5;
  double seconds = 2;     // per rate and round
  int containers = 1000;  // in List
};

/// Figures by row and daemon; a row prints the medians.
class Table {
 public:
  void add(const std::string& row, Kind kind, double value) { values_[row][kind].push_back(value); }

  void print() const {
    std::printf("%-44s %12s %12s %8s\n", "row", "berth", "containerd", "ratio");
    for (const auto& [row, kinds] : values_) {
      const double berth = median(kinds, Kind::kBerth);
      const double peer = median(kinds, Kind::kContainerd);
      std::printf("%-44s %12.1f %12.1f %8.2f\n", row.c_str(), berth, peer, berth / peer);
    }
  }

 private:
  static double median(const std::map<Kind, std::vector<double>>& kinds, Kind kind) {
    const auto found = kinds.find(kind);
    if (found == kinds.end() || found->second.empty()) return 0;
    std::vector<double> sorted = found->second;
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() / 2];
  }
  std::map<std::string, std::map<Kind, std::vector<double>>> values_;
};

/// Operations per second of `threads` clients, each with a connection of its own.
double rate(const std::string& address, int threads, double seconds,
            const std::function<void(Client&, int, int)>& operation) {
  std::atomic<bool> stop{false};
  std::atomic<int64_t> done{0};
  std::vector<std::thread> workers;
  const auto began = Clock::now();
  for (int thread = 0; thread < threads; ++thread) {
    workers.emplace_back([&, thread] {
      Client client(address);
      for (int i = 0; !stop; ++i) {
        operation(client, thread, i);
        ++done;
      }
    });
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  stop = true;
  for (std::thread& worker : workers) worker.join();
  const double passed = std::chrono::duration<double>(Clock::now() - began).count();
  return static_cast<double>(done) / passed;
}

void measure(const Settings& settings, Kind kind, int round, Table* table) {
  DaemonProcess daemon(kind, kind == Kind::kBerth ? settings.berthd : settings.containerd);
  table->add("1 start to first answer, ms", kind, daemon.start_milliseconds());
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  const DaemonProcess::Memory memory = daemon.memory();
  table->add("2 idle: resident, kB", kind, memory.resident);
  table->add("2 idle: proportional, kB", kind, memory.proportional);
  table->add("2 idle: private dirty, kB", kind, memory.private_dirty);
  for (const int clients : {1, 16}) {
    const std::string suffix = ", " + std::to_string(clients) + " clients, 1/s";
    table->add("3 version" + suffix, kind,
               rate(daemon.address(), clients, settings.seconds,
                    [](Client& client, int, int) { client.version(); }));
  }
  Client client(daemon.address());
  for (int i = 0; i < settings.containers; ++i)
    client.create_container("list-" + std::to_string(i), 4000);
  for (const int clients : {1, 16}) {
    table->add("4 list of " + std::to_string(settings.containers) + ", " + std::to_string(clients) +
                   " clients, 1/s",
               kind, rate(daemon.address(), clients, settings.seconds, [](Client& one, int, int) {
                 (void)one.list_containers();
               }));
  }
  for (const int writers : {1, 32}) {
    table->add(
        "5 durable create, " + std::to_string(writers) + " writers, 1/s", kind,
        rate(daemon.address(), writers, settings.seconds, [&](Client& one, int thread, int i) {
          one.create_container("w" + std::to_string(writers) + "-" + std::to_string(thread) + "-" +
                                   std::to_string(i),
                               4000);
        }));
  }
  table->add("6 CPU of the daemon in all, ms", kind, daemon.cpu_milliseconds());
  std::fprintf(stderr, "round %d of %s done\n", round + 1,
               kind == Kind::kBerth ? "berth" : "containerd");
}

}  // namespace
}  // namespace berth::bench

int main(int argc, char** argv) {
  using namespace berth::bench;
  Settings settings;
  std::error_code error;
  settings.berthd =
      (std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "berthd").string();
  CLI::App app{"compare: Berth and containerd side by side"};
  app.add_option("--berthd", settings.berthd,
                 "berthd to measure (default: the one beside this program)");
  app.add_option("--containerd", settings.containerd, "containerd to compare with");
  app.add_option("--rounds", settings.rounds, "rounds of each, interleaved");
  app.add_option("--seconds", settings.seconds, "seconds per rate and round");
  app.add_option("--containers", settings.containers, "containers in the list");
  CLI11_PARSE(app, argc, argv);
  Table table;
  try {
    for (int round = 0; round < settings.rounds; ++round) {
      measure(settings, Kind::kBerth, round, &table);
      measure(settings, Kind::kContainerd, round, &table);
    }
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "compare: %s\n", failure.what());
    return 1;
  }
  table.print();
  return 0;
}
