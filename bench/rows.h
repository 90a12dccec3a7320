// The rows of the comparison: each measures one daemon, freshly started, in one round, or several
// sides that it starts itself.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <set>
#include <string>
#include <vector>

#include "client.h"
#include "daemon_process.h"
#include "table.h"

namespace berth::bench {

/// Sizes, and where things are.
struct Settings {
  std::string berthd;
  std::string containerd = "/usr/bin/containerd";
  std::string ctr;        // empty: none
  std::string directory;  // of this run; everything that is written is in it
  std::string space;      // containerd's namespace, and the name of the cgroup
  std::string own_shim;   // folder of Berth's shim
  std::string go_shim = "/usr/bin";
  std::vector<std::string> runtimes = {"runc", "crun"};  // in PATH
  int rounds = 3;
  double seconds = 2;            // per rate and round
  int listed_containers = 1000;  // in List
  int running_containers = 50;   // whose memory is looked at
  int tasks = 24;                // started and ended one after the other, and again 8 at once
  size_t ingest_bytes = 1ULL << 30;
  int small_blobs = 1000;
  size_t layer_bytes = 200'000'000;  // compressed
  // Of the rows with several shims, each for every side, every OCI runtime and every round:
  std::vector<int> shim_counts = {1, 10, 100};  // containers whose shims are looked at
  int lives = 50;                               // one after the other, and again at once
  int at_once = 8;
  int execs = 50;
  int execs_per_second = 50;
  double exec_seconds = 60;
  int stopped_containers = 100;
  int client_lives = 12;    // of one thread
  int client_threads = 4;   // one to so many
  double idle_seconds = 2;  // until a daemon and its shims have nothing left to do
};

/// Where a row puts the figures of one daemon.
class Report {
 public:
  Report(Table* table, Kind kind) : table_(table), kind_(kind) {}
  void add(const std::string& name, Measure measure, Aim aim, double value) {
    table_->add({name, measure, aim}, static_cast<size_t>(kind_), value);
  }

 private:
  Table* table_;
  Kind kind_;
};

/// The tables of a run, and what was not measured, and why.
class Results {
 public:
  Table& table(const Layout& layout);
  void note(const std::string& text) { notes_.insert(text); }
  void print(bool markdown) const;

 private:
  std::list<Table> tables_;  // in the order in which they got their first figures
  std::set<std::string> notes_;
};

struct Row {
  const char* name;
  const char* what;
  /// Why this machine cannot run it, or an empty string.
  std::function<std::string(const Settings&)> unavailable;
  /// Measures one daemon, Berth and containerd in turn. Throws std::runtime_error when the daemon
  /// does not do what it should.
  std::function<void(const DaemonProcess&, const Settings&, Report)> measure;
  /// In the place of `measure`: a row that starts its sides itself. Throws likewise.
  std::function<void(const Settings&, int round, Results*)> measure_sides = nullptr;
  /// Each daemon gets a new, empty ext4 for its directory.
  bool own_filesystem = false;
};

/// All of them, in the order of the table.
std::vector<Row> all_rows();

// Parts of all_rows(), by file.
std::vector<Row> daemon_rows();
std::vector<Row> metadata_rows();
std::vector<Row> task_rows();
std::vector<Row> content_rows();
std::vector<Row> unpack_rows();
std::vector<Row> shim_rows();
std::vector<Row> life_rows();
std::vector<Row> exec_rows();
std::vector<Row> client_rows();

/// Waits until daemons and shims have nothing left to do.
void be_idle(const Settings& settings);

/// Why no file system of one's own can be had, or an empty string.
std::string needs_filesystem(const Settings& settings);

/// Why no container of runc can be started, or an empty string.
std::string needs_containers(const Settings& settings);

/// Why the sides of sides.h cannot be started, or an empty string.
std::string needs_sides(const Settings& settings);

/// Runs `work(client, thread)` on so many threads, each with a connection of its own that is
/// already open, at once. Rethrows what one of them threw. Returns the seconds that the whole took.
double at_once(const DaemonProcess& daemon, int threads,
               const std::function<void(Client&, int)>& work);

/// Likewise without connections.
double at_once(int threads, const std::function<void(int)>& work);

/// Runs from its construction.
class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
  }
  /// Milliseconds since the last lap or the construction.
  double lap_milliseconds() {
    const auto now = std::chrono::steady_clock::now();
    const double passed = std::chrono::duration<double, std::milli>(now - lap_).count();
    lap_ = now;
    return passed;
  }

 private:
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now(), lap_ = began_;
};

}  // namespace berth::bench
