// uses-shim-client SHIM: a shim is started for a bundle, asked who it is, told to go, and cleaned
// up after. Exit code 77: not root.
#include <berth/shim_client.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

namespace {

using namespace berth;  // NOLINT: a test of what is there by which name
using namespace berth::shim_client;

Status work(const std::string& program, const std::string& folder) {
  for (const char* name : {"/state", "/root"}) std::filesystem::create_directory(folder + name);
  BERTH_ASSIGN_OR_RETURN(const auto loop, ttrpc::Loop::start());
  LauncherSettings settings;
  settings.path = "/usr/sbin:/usr/bin:/sbin:/bin";
  settings.address = folder + "/daemon.sock";
  settings.ttrpc_address = settings.address + ".ttrpc";
  settings.publish_binary = "/bin/true";
  const ShimLauncher launcher(settings);
  const TaskKey key{"berth-sdk", "uses-" + std::to_string(::getpid())};
  BERTH_ASSIGN_OR_RETURN(const Bundle bundle,
                         Bundle::create({folder + "/state", folder + "/root"}, key, "{}"));
  BERTH_ASSIGN_OR_RETURN(const auto log, ShimLog::open(loop, bundle, [](std::string_view line) {
                           std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()),
                                        line.data());
                         }));
  const int64_t deadline = ttrpc::monotonic_ns() + 20'000'000'000;
  BERTH_ASSIGN_OR_RETURN(const std::string found, launcher.resolve(program));
  BERTH_ASSIGN_OR_RETURN(const Bootstrap bootstrap, launcher.start(bundle, found, "", deadline));
  BERTH_ASSIGN_OR_RETURN(const auto shim, Shim::connect(loop, key, bootstrap, {}));
  shim_api::ConnectRequest who;
  shim_api::ConnectResponse answer;
  who.set_id(key.id);
  BERTH_RETURN_IF_ERROR(shim->call(Context(), "Connect", who, &answer));
  std::printf("the shim is process %u\n", answer.shim_pid());
  shim_api::ShutdownRequest go;
  google::protobuf::Empty nothing;
  go.set_id(key.id);
  const Status gone = shim->call(Context(), "Shutdown", go, &nothing);
  if (!gone.ok() && !is_closed(gone)) return gone;
  BERTH_ASSIGN_OR_RETURN(const ExitStatus ended, launcher.remove(bundle, found));
  std::printf("cleaned up: %u\n", ended.status);
  return bundle.remove();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  if (::geteuid() != 0) {
    std::puts("SKIPPED: shims are for root");
    return 77;
  }
  std::string folder = "/tmp/berth-uses-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return 1;
  const Status done = work(argv[1], folder);
  if (!done.ok()) std::fprintf(stderr, "%s\n", done.to_string().c_str());
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return done.ok() ? 0 : 1;
}
