#include "plugin_source.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <filesystem>

#include "builtin/builtins.h"
#include "builtin/host_plugins.h"
#include "config/config.h"
#include "lifecycle/plugin_set.h"
#include "ops/logging.h"

namespace berth::ctl {
namespace {

namespace pb = berth::host::v1;

constexpr const char* kDefaultConfig = "/etc/berth/config.toml";
constexpr const char* kList = "/berth.host.v1.Plugins/List";
constexpr std::chrono::seconds kPatience{10};

std::string default_config() {
  std::error_code error;
  return std::filesystem::exists(kDefaultConfig, error) ? kDefaultConfig : "";
}

/// One unary call of a method whose messages are known here and nowhere in the stub.
grpc::Status call(const std::string& address, const char* method, const std::string& request,
                  std::string* response) {
  grpc::GenericStub stub(
      grpc::CreateChannel("unix://" + address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  grpc::CompletionQueue queue;
  const grpc::Slice slice(request);
  const grpc::ByteBuffer sent(&slice, 1);
  grpc::ByteBuffer received;
  grpc::Status status;
  auto reader = stub.PrepareUnaryCall(&context, method, sent, &queue);
  reader->StartCall();
  reader->Finish(&received, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  (void)queue.Next(&tag, &ok);
  queue.Shutdown();
  std::vector<grpc::Slice> slices;
  if (status.ok() && received.Dump(&slices).ok()) {
    for (const grpc::Slice& one : slices) {
      response->append(reinterpret_cast<const char*>(one.begin()), one.size());
    }
  }
  return status;
}

Result<KnownPlugins> ask_daemon(const std::string& address) {
  KnownPlugins known;
  known.from = "the daemon at " + address;
  known.live = true;
  const std::string attempt = "ask " + known.from + " for its plugins";
  std::error_code error;
  if (!std::filesystem::exists(address, error)) {
    return unavailable(
        attempt +
        ": there is no such socket: start berthd, or give another --address, or look "
        "at files with --plugin-dir");
  }
  std::string bytes;
  const grpc::Status status = call(address, kList, pb::ListRequest().SerializeAsString(), &bytes);
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
    return unimplemented(
        attempt + ": what listens there is not berthd, or an older one: " + status.error_message());
  }
  if (!status.ok()) {
    return Status(static_cast<Code>(status.error_code()), attempt + ": " + status.error_message());
  }
  if (!known.list.ParseFromString(bytes)) {
    return data_loss(attempt + ": its answer is not a berth.host.v1.ListResponse");
  }
  return known;
}

/// The graph as the daemon would resolve it.
Result<KnownPlugins> look_at_files(const std::string& config_file, const std::string& plugin_dir) {
  config::Overrides overrides;
  if (!plugin_dir.empty()) overrides.plugin_dir = plugin_dir;
  BERTH_ASSIGN_OR_RETURN(config::Config loaded, config::Config::load(config_file, overrides));
  // Lives as long as the process, as in the daemon: the host's own services are part of the graph
  // and point to it.
  const auto& config = *new config::Config(std::move(loaded));
  const auto& facts = *new abi::HostFacts{};
  auto& plugins = *new lifecycle::PluginSet(config, facts);
  const auto& router = *new rpc::Router;
  std::vector<config::Diagnostic> diagnostics = config.diagnostics();
  plugins.resolve(builtin::make_builtins(plugins, router, config, &diagnostics).services,
                  &diagnostics);
  KnownPlugins known;
  Context context;
  BERTH_RETURN_IF_ERROR(
      builtin::HostPluginsService(plugins).List(context, pb::ListRequest(), &known.list));
  for (const auto& one : diagnostics) known.list.add_problems(one.to_string());
  for (const std::string& directory : config.values().plugin_dirs) {
    known.from += (known.from.empty() ? "plugins of " : ", ") + directory;
    std::error_code error;
    if (!std::filesystem::is_directory(directory, error)) {
      known.list.add_problems("plugin directory " + directory +
                              " is not there: install plugins, or give another --plugin-dir");
    }
  }
  return known;
}

}  // namespace

void PluginSource::add_options(CLI::App* command) {
  auto* dir = command->add_option("--plugin-dir", plugin_dir,
                                  "look at the plugins of a directory, running none of their code");
  auto* file = command->add_option(
      "--config,-c", config, "look at the plugins that a configuration names, as berthd would");
  auto* socket =
      command->add_option("--address,-a", address,
                          "ask the daemon at this socket (default: that of the configuration)");
  socket->excludes(dir)->excludes(file);
}

Result<KnownPlugins> known_plugins(const PluginSource& source) {
  if (!source.address.empty()) return ask_daemon(source.address);
  if (!source.plugin_dir.empty() || !source.config.empty()) {
    return look_at_files(source.config, source.plugin_dir);
  }
  BERTH_ASSIGN_OR_RETURN(const config::Config config, config::Config::load(default_config(), {}));
  return ask_daemon(config.values().grpc.address);
}

}  // namespace berth::ctl
