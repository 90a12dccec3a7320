// Small calls, as many as the daemon answers: the way through the doors, and the metadata database.
#include <google/protobuf/empty.pb.h>

#include <atomic>

#include "containerd/services/containers/v1/containers.pb.h"
#include "containerd/services/version/v1/version.pb.h"
#include "rows.h"

namespace berth::bench {
namespace {

namespace pb = containerd::services::containers::v1;

constexpr size_t kSpecBytes = 4000;  // about what ctr writes

std::string always(const Settings&) { return {}; }

void create_container(Client& client, const std::string& id) {
  pb::CreateContainerRequest request;
  auto* container = request.mutable_container();
  container->set_id(id);
  container->mutable_runtime()->set_name("io.containerd.runc.v2");
  container->mutable_spec()->set_type_url("types.containerd.io/opencontainers/runtime-spec/1/Spec");
  container->mutable_spec()->set_value(std::string(kSpecBytes, ' '));
  (void)client.call<pb::CreateContainerResponse>(
      "/containerd.services.containers.v1.Containers/Create", request);
}

/// Calls per second of so many clients, and the daemon's processor time for one.
void rate(const DaemonProcess& daemon, const Settings& settings, Report* report, Aim aim,
          const std::string& name, int clients,
          const std::function<void(Client&, int, int)>& operation) {
  std::atomic<int64_t> done{0};
  const double cpu = daemon.cpu_milliseconds();
  const double seconds = at_once(daemon, clients, [&](Client& client, int thread) {
    const Stopwatch watch;
    for (int i = 0; watch.seconds() < settings.seconds; ++i) {
      operation(client, thread, i);
      ++done;
    }
  });
  report->add(name + ", 1/s", Measure::kRate, aim, static_cast<double>(done) / seconds);
  report->add(name + ": daemon's CPU for one, us", Measure::kAmount, Aim::kNone,
              (daemon.cpu_milliseconds() - cpu) * 1000 / static_cast<double>(done));
}

std::string with_clients(const std::string& what, int clients, const char* noun) {
  return what + ", " + std::to_string(clients) + " " + noun + (clients == 1 ? "" : "s");
}

void version(const DaemonProcess& daemon, const Settings& settings, Report report) {
  for (const int clients : {1, 16}) {
    rate(daemon, settings, &report, Aim::kNeverWorse, with_clients("Version", clients, "client"),
         clients, [](Client& client, int, int) {
           (void)client.call<containerd::services::version::v1::VersionResponse>(
               "/containerd.services.version.v1.Version/Version", google::protobuf::Empty());
         });
  }
}

void list(const DaemonProcess& daemon, const Settings& settings, Report report) {
  Client maker(daemon.address(), daemon.space());
  for (int i = 0; i < settings.listed_containers; ++i) {
    create_container(maker, "list-" + std::to_string(i));
  }
  const std::string what = "List of " + std::to_string(settings.listed_containers) + " containers";
  for (const int clients : {1, 16}) {
    rate(daemon, settings, &report, Aim::kNeverWorse, with_clients(what, clients, "client"),
         clients, [&](Client& client, int, int) {
           const auto answer = client.call<pb::ListContainersResponse>(
               "/containerd.services.containers.v1.Containers/List", pb::ListContainersRequest());
           if (answer.containers_size() != settings.listed_containers) {
             throw std::runtime_error("Containers.List gave " +
                                      std::to_string(answer.containers_size()) + " of " +
                                      std::to_string(settings.listed_containers) + " containers");
           }
         });
  }
}

void create(const DaemonProcess& daemon, const Settings& settings, Report report) {
  for (const int writers : {1, 32}) {
    rate(daemon, settings, &report, Aim::kTwiceAsFast,
         with_clients("durable create", writers, "writer"), writers,
         [&](Client& client, int thread, int i) {
           create_container(client, "w" + std::to_string(writers) + "-" + std::to_string(thread) +
                                        "-" + std::to_string(i));
         });
  }
}

}  // namespace

std::vector<Row> metadata_rows() {
  return {{"version", "Version, the smallest call", always, version},
          {"list", "Containers.List in one message", always, list},
          {"create", "Containers.Create, on disk when answered", needs_filesystem, create, nullptr,
           true}};
}

}  // namespace berth::bench
