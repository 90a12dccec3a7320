// Containers by the programs that people use: run, kill, rm.
#include <fstream>
#include <optional>

#include "inputs.h"
#include "machine.h"
#include "sides.h"

namespace berth::bench {
namespace {

constexpr char kImageName[] = "docker.io/library/bench-busybox:latest";
constexpr int kMostThreads = 4;

const Layout& layout() {
  static const Layout kLayout{
      "Containers by client program: run -d, kill, rm",
      {"ctr on Berth", "ctr on containerd", "docker on Berth", "docker on containerd"}};
  return kLayout;
}

/// Runs a client's command; throws with what it printed when it fails.
void command(const std::string& log, const std::vector<std::string>& words) {
  if (const int code = run(words, log); code != 0) {
    std::string text;
    for (const std::string& word : words) text += word + " ";
    const std::string said = read_file(log);
    throw std::runtime_error(text + "ended with " + std::to_string(code) + ": " +
                             said.substr(said.size() - std::min<size_t>(said.size(), 2000)));
  }
}

/// Measures `life(id, log)` on one to four threads.
void measure_threads(const Settings& settings, size_t side, Table* table,
                     const std::function<void(const std::string&, const std::string&)>& life) {
  life("warm", settings.directory + "/client-log");
  for (int threads = 1; threads <= kMostThreads; ++threads) {
    const double seconds = at_once(threads, [&](int thread) {
      const std::string name = "t" + std::to_string(threads) + "-" + std::to_string(thread) + "-";
      for (int i = 0; i < settings.client_lives; ++i) {
        life(name + std::to_string(i),
             settings.directory + "/client-log-" + std::to_string(thread));
      }
    });
    table->add(
        {std::to_string(threads) + (threads == 1 ? " thread" : " threads") + ": containers, 1/s",
         Measure::kRate, Aim::kNone},
        side, threads * settings.client_lives / seconds);
  }
}

void by_ctr(const Settings& settings, Kind kind, Table* table) {
  const auto side = start_side(settings, kind, kind == Kind::kBerth);
  const DaemonProcess& daemon = *side->daemon();
  const auto ctr = [&](std::vector<std::string> words) {
    std::vector<std::string> all = {settings.ctr, "--address", daemon.address(), "--namespace",
                                    daemon.space()};
    all.insert(all.end(), words.begin(), words.end());
    return all;
  };
  const std::string archive = busybox_archive(settings.directory, kImageName);
  command(settings.directory + "/client-log", ctr({"images", "import", archive}));
  measure_threads(settings, static_cast<size_t>(kind), table,
                  [&](const std::string& id, const std::string& log) {
                    command(log, ctr({"run", "--detach", "--null-io", kImageName, id,
                                      "/bin/busybox", "sleep", "3600"}));
                    command(log, ctr({"tasks", "kill", "--signal", "SIGKILL", id}));
                    command(log, ctr({"tasks", "delete", "--force", id}));
                    command(log, ctr({"containers", "delete", id}));
                  });
}

void clients(const Settings& settings, int round, Results* results) {
  Table& table = results->table(layout());
  const bool peer_first = round % 2 == 1;
  for (const Kind kind : {peer_first ? Kind::kContainerd : Kind::kBerth,
                          peer_first ? Kind::kBerth : Kind::kContainerd}) {
    by_ctr(settings, kind, &table);
  }
}

std::string needs_ctr(const Settings& settings) {
  const std::string reason = needs_containers(settings);
  return reason.empty() && settings.ctr.empty() ? "ctr is not in PATH" : reason;
}

}  // namespace

std::vector<Row> client_rows() {
  return {{"clients", "run, kill, rm by client programs, one to four at once", needs_ctr, nullptr,
           clients}};
}

}  // namespace berth::bench
