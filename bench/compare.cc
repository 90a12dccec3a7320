// Berth and containerd side by side, the same client, rounds interleaved: medians and ratios; and
// Berth's shim beside containerd's and the OCI runtime by itself.
//
// The measuring is done in a child process. The parent waits for it and then cleans up, so that
// nothing is left behind however the child ends.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>

#include "machine.h"
#include "rows.h"

namespace berth::bench {
namespace {

struct Options {
  Settings settings;
  std::vector<std::string> rows;  // names or their beginnings; empty: all
  bool quick = false, markdown = false, list = false;
};

/// Enough to see that everything works; the figures say nothing.
void make_quick(Settings* settings) {
  settings->rounds = 1;
  settings->seconds = 0.2;
  settings->listed_containers = 20;
  settings->running_containers = 4;
  settings->tasks = 8;
  settings->ingest_bytes = 16 << 20;
  settings->small_blobs = 40;
  settings->layer_bytes = 4'000'000;
  settings->shim_counts = {2};
  // The other rows run runc.
  if (!find_program("crun").empty()) settings->runtimes = {"crun"};
  settings->lives = 2;
  settings->at_once = 2;
  settings->execs = 2;
  settings->execs_per_second = 20;
  settings->exec_seconds = 0.5;
  settings->stopped_containers = 2;
  settings->idle_seconds = 0.2;
  settings->client_lives = 1;
  settings->client_threads = 1;
}

/// Whether `text` begins the name or one of its words.
bool matches(const std::string& name, const std::string& text) {
  if (name.starts_with(text)) return true;
  for (size_t at = name.find('-'); at != std::string::npos; at = name.find('-', at + 1)) {
    if (name.compare(at + 1, text.size(), text) == 0) return true;
  }
  return false;
}

bool chosen(const Row& row, const Options& options) {
  return options.rows.empty() ||
         std::any_of(options.rows.begin(), options.rows.end(),
                     [&](const std::string& text) { return matches(row.name, text); });
}

/// What a reader has to know about the machine and the method.
std::string header(const Options& options) {
  std::string cpu = "unknown processor";
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("model name")) {
      cpu = line.substr(line.find(':') + 2);
      break;
    }
  }
  std::string load = read_file("/proc/loadavg");
  load = load.substr(0, load.find(' '));
  char text[512];
  std::snprintf(text, sizeof text,
                "%ld x %s, load %s at the start; %d round%s, interleaved, of %.1f s per rate; "
                "medians.\nThe page cache is not dropped; sync() before each row that writes much; "
                "how far a daemon syncs is its own choice.\n",
                ::sysconf(_SC_NPROCESSORS_ONLN), cpu.c_str(), load.c_str(), options.settings.rounds,
                options.settings.rounds == 1 ? "" : "s", options.settings.seconds);
  return text + std::string(options.quick ? "Small sizes: the figures say nothing.\n" : "");
}

/// One row, one round, one daemon. The shim is containerd's for both: what is compared is the
/// daemons. Returns why it failed, or an empty string.
std::string measure(const Row& row, const Settings& settings, Kind kind, Table* table) {
  const std::string& program = kind == Kind::kBerth ? settings.berthd : settings.containerd;
  const std::string directory = settings.directory + "/" + name_of(kind);
  std::string log;
  try {
    std::optional<FreshFilesystem> filesystem;
    if (row.own_filesystem) filesystem.emplace(directory);
    const DaemonProcess daemon(kind, program, directory, settings.space, settings.go_shim);
    try {
      row.measure(daemon, settings, Report(table, kind));
    } catch (const std::exception&) {
      log = daemon.log_end();
      throw;
    }
  } catch (const std::exception& failure) {
    return failure.what() + (log.empty() ? "" : "; its log ends with: " + log);
  }
  return {};
}

/// One row, one round, both daemons. Returns whether Berth failed at what containerd can do.
bool measure_both(const Row& row, const Settings& settings, int round, Results* results,
                  std::set<std::string>* given_up) {
  static const Layout kDaemons{"", {name_of(Kind::kBerth), name_of(Kind::kContainerd)}};
  std::map<Kind, std::string> failures;
  // Who is first changes from round to round.
  const bool peer_first = round % 2 == 1;
  for (const Kind kind : {peer_first ? Kind::kContainerd : Kind::kBerth,
                          peer_first ? Kind::kBerth : Kind::kContainerd}) {
    const Stopwatch watch;
    failures[kind] = measure(row, settings, kind, &results->table(kDaemons));
    std::fprintf(stderr, "round %d, %s, %s: %s in %.1f s\n", round + 1, row.name, name_of(kind),
                 failures[kind].empty() ? "done" : "FAILED", watch.seconds());
    if (failures[kind].empty()) continue;
    given_up->insert(row.name);
    results->note("Failed: " + std::string(row.name) + ", " + name_of(kind) + ": " +
                  failures[kind]);
  }
  return !failures[Kind::kBerth].empty() && failures[Kind::kContainerd].empty();
}

/// One row, one round, which starts its sides itself. Returns whether it failed.
bool measure_sides(const Row& row, const Settings& settings, int round, Results* results,
                   std::set<std::string>* given_up) {
  const Stopwatch watch;
  bool failed = false;
  try {
    row.measure_sides(settings, round, results);
  } catch (const std::exception& failure) {
    failed = true;
    given_up->insert(row.name);
    results->note("Failed: " + std::string(row.name) + ": " + failure.what());
  }
  std::fprintf(stderr, "round %d, %s: %s in %.1f s\n", round + 1, row.name,
               failed ? "FAILED" : "done", watch.seconds());
  return failed;
}

/// 0 when Berth did everything that containerd did on this machine.
int measure_all(const Options& options) {
  const Settings& settings = options.settings;
  const bool left = leave_unified_cgroup();
  Results results;
  std::vector<Row> rows;
  for (Row& row : all_rows()) {
    if (!chosen(row, options)) continue;
    const std::string reason = row.unavailable(settings);
    if (reason.empty()) {
      rows.push_back(std::move(row));
    } else {
      results.note("Skipped: " + std::string(row.name) + ": " + reason);
    }
  }
  const std::string head =
      header(options) +
      (left ? "Without the empty unified cgroup beside version 1, in a mount namespace.\n" : "");
  bool berth_failed = false;
  std::set<std::string> given_up;
  for (int round = 0; round < settings.rounds; ++round) {
    for (const Row& row : rows) {
      if (given_up.contains(row.name)) continue;
      berth_failed |=
          (row.measure ? measure_both : measure_sides)(row, settings, round, &results, &given_up);
    }
  }
  std::printf("%s\n", head.c_str());
  results.print(options.markdown);
  std::fflush(stdout);
  return berth_failed ? 1 : 0;
}

volatile sig_atomic_t child = 0;

void pass_on(int signal) {
  if (child > 0) ::kill(child, signal);
}

/// Measures in a child, then cleans up. The exit code of the program.
int supervise(Options options) {
  char name[] = "/tmp/berth-bench-XXXXXX";
  if (::mkdtemp(name) == nullptr) {
    std::perror("compare: making a directory in /tmp");
    return 2;
  }
  options.settings.directory = name;
  options.settings.space = std::filesystem::path(name).filename().string();
  // Shims leave their parents and come to this process, which collects what ended.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  const pid_t pid = ::fork();
  if (pid < 0) {
    std::perror("compare: fork");
    ::rmdir(name);
    return 2;
  }
  if (pid == 0) {
    const int code = measure_all(options);
    std::fflush(nullptr);
    ::_exit(code);
  }
  child = pid;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action {};
    action.sa_handler = pass_on;
    ::sigaction(signal, &action, nullptr);
  }
  int status = 0;
  for (;;) {
    int one = 0;
    const pid_t ended = ::waitpid(-1, &one, 0);
    if (ended < 0 && errno != EINTR) break;
    if (ended == pid) {
      status = one;
      break;
    }
  }
  child = 0;
  clean_up(options.settings.directory, options.settings.space);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace
}  // namespace berth::bench

int main(int argc, char** argv) {
  using namespace berth::bench;
  Options options;
  Settings& settings = options.settings;
  std::error_code error;
  settings.berthd =
      (std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "berthd").string();
  settings.ctr = find_program("ctr");
  // Options are looked at twice: --quick sets sizes first, what is said beside it changes them.
  for (int i = 1; i < argc; ++i) options.quick |= std::string_view(argv[i]) == "--quick";
  if (options.quick) make_quick(&settings);

  CLI::App app{"compare: Berth and containerd side by side"};
  app.add_option("--berthd", settings.berthd,
                 "berthd to measure (default: the one beside this program)");
  app.add_option("--shim", settings.own_shim, "folder of Berth's shim (default: beside berthd)");
  app.add_option("--go-shim", settings.go_shim, "folder of containerd's shim");
  app.add_option("--containerd", settings.containerd, "containerd to compare with");
  app.add_option("--ctr", settings.ctr, "client for the rows `import` and `clients`");
  app.add_option("--row", options.rows,
                 "only this row, or rows whose name or a word of it begins so")
      ->allow_extra_args(false);
  app.add_flag("--list", options.list, "print the names of the rows and what they are");
  app.add_option("--rounds", settings.rounds, "rounds of each, interleaved");
  app.add_option("--seconds", settings.seconds, "seconds per rate and round");
  app.add_option("--containers", settings.listed_containers, "containers in the list");
  app.add_option("--running", settings.running_containers,
                 "running containers in `running-memory`");
  app.add_option("--tasks", settings.tasks, "containers in `tasks`");
  app.add_option("--ingest-bytes", settings.ingest_bytes, "size of the blob in `ingest`");
  app.add_option("--layer-bytes", settings.layer_bytes, "size of the gzip layer");
  app.add_option("--runtime", settings.runtimes, "OCI runtimes (default: runc and crun)")
      ->allow_extra_args(false);
  app.add_option("--lives", settings.lives, "lives of each side in `lives-and-cpu`");
  app.add_option("--execs", settings.execs, "processes of each side in `execs`");
  app.add_option("--exec-seconds", settings.exec_seconds, "how long `exec-growth` goes on");
  app.add_option("--stopped", settings.stopped_containers, "containers in `stop-many`");
  app.add_flag("--quick", options.quick, "small sizes and one round, to see that it works");
  app.add_flag("--markdown", options.markdown, "print the table as Markdown");
  CLI11_PARSE(app, argc, argv);
  if (settings.own_shim.empty()) {
    settings.own_shim = settings.berthd.substr(0, settings.berthd.rfind('/')) + "/shim";
  }
  if (options.list) {
    for (const Row& row : all_rows()) std::printf("%-16s %s\n", row.name, row.what);
    return 0;
  }
  return supervise(options);
}
