// What a call of a plugin costs where the plugin runs: in the host, in a process of its own with
// berthd's link, and behind a socket with gRPC, as proxy plugins are. The same shared object each
// time.
#include <berth/spawn.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "abi/instance.h"
#include "abi/library.h"
#include "bus/host_table.h"
#include "containerd/services/content/v1/content.berth.h"
#include "process/process_plugin.h"
#include "proxy/remote_service.h"

namespace {

namespace content = containerd::services::content::v1;
namespace fs = std::filesystem;
using berth::Context;
using berth::Status;

constexpr const char* kType = "io.containerd.content.v1";
constexpr const char* kService = "containerd.services.content.v1.Content";

[[noreturn]] void fail(const Status& status) {
  std::fprintf(stderr, "placement_bench: %s\n", status.to_string().c_str());
  std::exit(1);
}

berth::abi::InstanceSettings settings() {
  berth::abi::InstanceSettings made;
  made.type = kType;
  made.id = "bench";
  made.config_json = "{}";
  return made;
}

berth::bus::Target* run(berth::abi::Placed* plugin) {
  for (const auto& step :
       {&berth::abi::Placed::probe, &berth::abi::Placed::init, &berth::abi::Placed::start}) {
    const auto done = (plugin->*step)();
    if (done.outcome != berth::abi::Placed::Outcome::kOk) fail(done.status);
    if (step == &berth::abi::Placed::init) plugin->ready();
  }
  return &plugin->target();
}

void one_call(const content::ContentClient& client) {
  content::InfoRequest request;
  request.set_digest(std::string(200, 'q'));
  content::InfoResponse response;
  const Status status = client.Info(Context(), request, &response);
  if (!status.ok() || response.info().digest().size() != 200) fail(status);
}

double now() { return static_cast<double>(berth::monotonic_now()) / 1e9; }

/// Seconds of CPU of this process and of those that it has reaped; the plugin's is added by hand.
double cpu_of(int who) {
  rusage used{};
  ::getrusage(who, &used);
  return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

void measure(const char* row, berth::bus::Target* raw, double seconds) {
  const content::ContentClient client{berth::Target(berth::bus::handle_of(raw))};
  for (int i = 0; i < 200; ++i) one_call(client);
  std::vector<double> times;
  const double cpu_before = cpu_of(RUSAGE_SELF);
  for (const double end = now() + seconds; now() < end;) {
    const double began = now();
    one_call(client);
    times.push_back(now() - began);
  }
  const double cpu = (cpu_of(RUSAGE_SELF) - cpu_before) / static_cast<double>(times.size());
  std::sort(times.begin(), times.end());
  std::atomic<uint64_t> calls = 0;
  const double end = now() + seconds;
  std::vector<std::thread> callers;
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&] {
      while (now() < end) {
        one_call(client);
        ++calls;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  // 1 MiB pieces.
  double bytes = 0;
  const double began = now();
  while (now() < began + seconds) {
    content::ReadContentRequest request;
    request.set_size(64 << 20);
    auto reader = client.Read(Context(), request);
    content::ReadContentResponse piece;
    while (reader.Read(&piece)) bytes += static_cast<double>(piece.data().size());
    if (const Status status = reader.Finish(); !status.ok()) fail(status);
  }
  std::printf("%-10s %12.1f %12.1f %14.1f %12.0f %10.2f\n", row, times[times.size() / 2] * 1e6,
              times[times.size() * 99 / 100] * 1e6, cpu * 1e6, static_cast<double>(calls) / seconds,
              bytes / (now() - began) / 1e9);
}

bool is_listening(const std::string& path) {
  const berth::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 2;
  std::string folder = (fs::temp_directory_path() / "berth-placement-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return 1;
  const auto& host = *new berth::abi::HostFacts{folder + "/root", folder + "/state", "", "", ""};
  const std::string program = PLUGIN_RUN;
  std::printf("%-10s %12s %12s %14s %12s %10s\n", "placement", "us/call", "p99 us", "caller CPU us",
              "8 at once/s", "read GB/s");

  const auto library = berth::abi::Library::load(BENCH_PLUGIN, {{kType, "bench", {kService}}});
  if (!library.ok()) fail(library.status());
  auto* in_host = new berth::abi::Instance(*library->find(kType, "bench"), settings(), host);
  measure("host", run(in_host), seconds);

  berth::process::ProcessOptions options;
  options.program = program;
  options.file = BENCH_PLUGIN;
  auto* apart = new berth::process::ProcessPlugin(options, settings(), host);
  measure("process", run(apart), seconds);
  apart->stop(berth::monotonic_now() + 5'000'000'000);

  const std::string socket = folder + "/s.sock";
  const std::vector<std::string> words = {program,  BENCH_PLUGIN,     "--listen",    socket,
                                          "--root", folder + "/root", "--log-level", "error"};
  berth::SpawnSettings spawn;
  pid_t pid = -1;
  if (::posix_spawn(&pid, program.c_str(), &spawn.actions, &spawn.attributes,
                    berth::pointers(words).data(), environ) != 0) {
    return 1;
  }
  for (int i = 0; i < 1000 && !is_listening(socket); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const auto remote = berth::proxy::serve_remote(
      kType, "bench", {"bench", socket, "", 16 << 20, 16 << 20}, {kService});
  if (!remote.ok()) fail(remote.status());
  measure("proxy", *remote, seconds);
  ::kill(pid, SIGTERM);
  ::waitpid(pid, nullptr, 0);
  fs::remove_all(folder);
  std::fflush(nullptr);
  ::_exit(0);  // plugins' threads are left as they are
}
