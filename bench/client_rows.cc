// Containers by the programs that people use: run, kill, rm.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "inputs.h"
#include "machine.h"
#include "sides.h"

namespace berth::bench {
namespace {

constexpr char kImageName[] = "docker.io/library/bench-busybox:latest";

const Layout& layout(bool docker) {
  static const Layout kCtr{"By ctr: run --detach, tasks kill, tasks delete, containers delete",
                           {"Berth, own shim", "containerd, Go shim"}};
  static const Layout kDocker{"By docker on dockerd: run --detach, kill, rm",
                              {"Berth, own shim", "containerd, Go shim"}};
  return docker ? kDocker : kCtr;
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
void measure_threads(const Settings& settings, Kind kind, Table* table,
                     const std::function<void(const std::string&, const std::string&)>& life) {
  life("warm", settings.directory + "/client-log");
  for (int threads = 1; threads <= settings.client_threads; ++threads) {
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
        static_cast<size_t>(kind), threads * settings.client_lives / seconds);
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
  measure_threads(settings, kind, table, [&](const std::string& id, const std::string& log) {
    command(log,
            ctr({"run", "--detach", "--null-io", kImageName, id, "/bin/busybox", "sleep", "3600"}));
    command(log, ctr({"tasks", "kill", "--signal", "SIGKILL", id}));
    command(log, ctr({"tasks", "delete", "--force", id}));
    command(log, ctr({"containers", "delete", id}));
  });
}

/// Debian's dockerd on a daemon, with its folders in those of the run, without a network.
class DockerEngine {
 public:
  /// Throws when it does not answer within 30 s.
  DockerEngine(const Settings& settings, const DaemonProcess& daemon)
      : folder_(daemon.directory() + "/docker"),
        made_run_(!std::filesystem::exists("/run/docker")),
        docker_(find_program("docker")) {
    std::filesystem::create_directory(folder_);
    std::ofstream(folder_ + "/config.json")
        << R"({"deprecated-key-path": ")" << folder_ << R"(/key.json"})";
    pid_ = begin({find_program("dockerd"),
                  "--containerd",
                  daemon.address(),
                  "--containerd-namespace",
                  daemon.space(),
                  "--containerd-plugins-namespace",
                  daemon.space() + "-plugins",
                  "--cgroup-parent",
                  "/" + daemon.space(),
                  "--config-file",
                  folder_ + "/config.json",
                  "--data-root",
                  folder_ + "/root",
                  "--exec-root",
                  folder_ + "/exec",
                  "--pidfile",
                  folder_ + "/pid",
                  "-H",
                  socket(),
                  "--bridge",
                  "none",
                  "--iptables=false",
                  "--ip6tables=false",
                  "--ip-forward=false",
                  "--ip-masq=false",
                  "--storage-driver",
                  "overlay2",
                  "--shutdown-timeout",
                  "5"},
                 folder_ + "/log");
    const Stopwatch watch;
    while (run(words({"version"}), "/dev/null") != 0) {
      if (watch.seconds() > 30 || ::waitpid(pid_, nullptr, WNOHANG) == pid_) {
        const std::string log = read_file(folder_ + "/log");
        stop();
        throw std::runtime_error("dockerd does not answer: " +
                                 log.substr(log.size() - std::min<size_t>(log.size(), 1000)));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    busybox_archive(settings.directory, kImageName);  // with the layer beside it
    command(folder_ + "/log", words({"import", settings.directory + "/busybox.tar", kImageName}));
  }
  ~DockerEngine() { stop(); }
  DockerEngine(const DockerEngine&) = delete;
  DockerEngine& operator=(const DockerEngine&) = delete;

  /// A command of the client.
  std::vector<std::string> words(const std::vector<std::string>& more) const {
    std::vector<std::string> all = {docker_, "-H", socket()};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

 private:
  std::string socket() const { return "unix://" + folder_ + "/socket"; }

  void stop() {
    ::kill(pid_, SIGTERM);
    bool ended = false;
    for (int i = 0; i < 200 && !ended; ++i) {
      ended = ::waitpid(pid_, nullptr, WNOHANG) != 0;
      if (!ended) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    if (!ended && ::kill(pid_, SIGKILL) == 0) ::waitpid(pid_, nullptr, 0);
    // Where it looks for plugins, whatever its flags say. The rest goes with the daemon's folder.
    if (made_run_) {
      ::rmdir("/run/docker/plugins");
      ::rmdir("/run/docker");
    }
  }

  const std::string folder_;
  const bool made_run_;
  const std::string docker_;
  pid_t pid_ = -1;
};

/// Notes why, where there is no dockerd or it does not run.
void by_docker(const Settings& settings, Kind kind, Results* results) {
  try {
    for (const char* program : {"dockerd", "docker"}) {
      if (find_program(program).empty()) {
        throw std::runtime_error(std::string(program) + " is not in PATH (Debian: docker.io)");
      }
    }
    const auto side = start_side(settings, kind, kind == Kind::kBerth);
    const DockerEngine engine(settings, *side->daemon());
    measure_threads(settings, kind, &results->table(layout(true)),
                    [&](const std::string& id, const std::string& log) {
                      command(log, engine.words({"run", "--detach", "--network", "none", "--name",
                                                 id, kImageName, "/bin/busybox", "sleep", "3600"}));
                      command(log, engine.words({"kill", id}));
                      command(log, engine.words({"rm", id}));
                    });
  } catch (const std::exception& failure) {
    results->note(std::string("Skipped: docker on ") + name_of(kind) + ": " + failure.what());
  }
}

void clients(const Settings& settings, int round, Results* results) {
  const bool peer_first = round % 2 == 1;
  for (const Kind kind : {peer_first ? Kind::kContainerd : Kind::kBerth,
                          peer_first ? Kind::kBerth : Kind::kContainerd}) {
    by_ctr(settings, kind, &results->table(layout(false)));
    by_docker(settings, kind, results);
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
