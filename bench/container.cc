#include "container.h"

#include <google/protobuf/empty.pb.h>
#include <signal.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "containerd/services/containers/v1/containers.pb.h"
#include "containerd/services/tasks/v1/tasks.pb.h"
#include "inputs.h"

namespace berth::bench {
namespace {

namespace containers = containerd::services::containers::v1;
namespace tasks = containerd::services::tasks::v1;
using google::protobuf::Empty;
using nlohmann::json;

json mount(const char* target, const char* type, json options) {
  return {{"destination", target}, {"type", type}, {"source", type}, {"options", options}};
}

/// With the namespaces and mounts that ctr gives a container.
std::string runtime_spec(const std::string& space, const std::string& id) {
  json namespaces = json::array();
  for (const char* type : {"pid", "ipc", "uts", "mount", "network"}) {
    namespaces.push_back({{"type", type}});
  }
  return json{
      {"ociVersion", "1.0.2"},
      {"process",
       {{"user", {{"uid", 0}, {"gid", 0}}},
        {"args", {"/bin/busybox", "sleep", "3600"}},
        {"env", {"PATH=/bin"}},
        {"cwd", "/"},
        {"noNewPrivileges", true}}},
      {"root", {{"path", "rootfs"}}},
      {"hostname", "bench"},
      {"mounts",
       {mount("/proc", "proc", {"nosuid", "noexec", "nodev"}),
        mount("/dev", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}),
        mount("/dev/pts", "devpts", {"nosuid", "noexec", "newinstance", "ptmxmode=0666"}),
        mount("/dev/shm", "tmpfs", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}),
        mount("/sys", "sysfs", {"nosuid", "noexec", "nodev", "ro"}),
        mount("/run", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"})}},
      {"linux",
       {{"cgroupsPath", "/" + space + "/" + id},
        {"namespaces", namespaces},
        {"resources", {{"devices", {{{"allow", false}, {"access", "rwm"}}}}}},
        {"maskedPaths", {"/proc/kcore", "/proc/keys", "/sys/firmware"}},
        {"readonlyPaths", {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"}}}}}
      .dump();
}

}  // namespace

void Container::make(Client& client, const std::string& image) {
  mounts_ = prepare_snapshot(client, id_, image);
  containers::CreateContainerRequest request;
  auto* container = request.mutable_container();
  container->set_id(id_);
  container->set_snapshotter(kSnapshotter);
  container->set_snapshot_key(id_);
  container->mutable_runtime()->set_name("io.containerd.runc.v2");
  container->mutable_spec()->set_type_url("types.containerd.io/opencontainers/runtime-spec/1/Spec");
  container->mutable_spec()->set_value(runtime_spec(client.space(), id_));
  (void)client.call<containers::CreateContainerResponse>(
      "/containerd.services.containers.v1.Containers/Create", request);
}

void Container::create_task(Client& client) {
  tasks::CreateTaskRequest request;
  request.set_container_id(id_);
  *request.mutable_rootfs() = mounts_;
  (void)client.call<tasks::CreateTaskResponse>("/containerd.services.tasks.v1.Tasks/Create",
                                               request);
}

void Container::start(Client& client) {
  tasks::StartRequest request;
  request.set_container_id(id_);
  (void)client.call<tasks::StartResponse>("/containerd.services.tasks.v1.Tasks/Start", request);
}

void Container::kill(Client& client) {
  tasks::KillRequest request;
  request.set_container_id(id_);
  request.set_signal(SIGKILL);
  (void)client.call<Empty>("/containerd.services.tasks.v1.Tasks/Kill", request);
  tasks::WaitRequest wait;
  wait.set_container_id(id_);
  const auto ended =
      client.call<tasks::WaitResponse>("/containerd.services.tasks.v1.Tasks/Wait", wait);
  if (ended.exit_status() != 128 + SIGKILL) {
    throw std::runtime_error("Tasks.Wait of " + id_ + " gave exit status " +
                             std::to_string(ended.exit_status()) + " after SIGKILL");
  }
}

void Container::delete_task(Client& client) {
  tasks::DeleteTaskRequest request;
  request.set_container_id(id_);
  (void)client.call<tasks::DeleteResponse>("/containerd.services.tasks.v1.Tasks/Delete", request);
}

void Container::remove(Client& client) {
  containers::DeleteContainerRequest request;
  request.set_id(id_);
  (void)client.call<Empty>("/containerd.services.containers.v1.Containers/Delete", request);
  remove_snapshot(client, id_);
}

void unpack_busybox(Client& client, const std::string& program, const std::string& name) {
  const std::string layer = busybox_layer(program);
  const std::string digest = digest_of(layer);
  client.write_blob(digest, layer);
  const Mounts mounts = prepare_snapshot(client, name + "-active", "");
  apply_layer(client, mounts, "application/vnd.oci.image.layer.v1.tar", digest, layer.size(),
              digest);
  commit_snapshot(client, name + "-active", name);
}

}  // namespace berth::bench
