#include "container.h"

#include <google/protobuf/empty.pb.h>
#include <signal.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "containerd/services/containers/v1/containers.pb.h"
#include "containerd/services/tasks/v1/tasks.pb.h"
#include "containerd/types/runc/options/oci.pb.h"
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

json process_of(const std::vector<std::string>& command) {
  std::vector<std::string> arguments = {"/bin/busybox"};
  arguments.insert(arguments.end(), command.begin(), command.end());
  return {{"user", {{"uid", 0}, {"gid", 0}}},
          {"args", arguments},
          {"env", {"PATH=/bin"}},
          {"cwd", "/"},
          {"noNewPrivileges", true}};
}

}  // namespace

std::string process_spec(const std::vector<std::string>& command) {
  return process_of(command).dump();
}

std::string runtime_spec(const std::string& space, const std::string& id,
                         const std::vector<std::string>& command) {
  json namespaces = json::array();
  for (const char* type : {"pid", "ipc", "uts", "mount", "network"}) {
    namespaces.push_back({{"type", type}});
  }
  return json{
      {"ociVersion", "1.0.2"},
      {"process", process_of(command)},
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

void Container::make(Client& client, const std::string& image) {
  mounts_ = prepare_snapshot(client, id_, image);
  containers::CreateContainerRequest request;
  auto* container = request.mutable_container();
  container->set_id(id_);
  container->set_snapshotter(kSnapshotter);
  container->set_snapshot_key(id_);
  container->mutable_runtime()->set_name("io.containerd.runc.v2");
  if (!workload_.runtime.empty()) {
    containerd::runc::v1::Options options;
    options.set_binary_name(workload_.runtime);
    container->mutable_runtime()->mutable_options()->set_type_url("containerd.runc.v1.Options");
    container->mutable_runtime()->mutable_options()->set_value(options.SerializeAsString());
  }
  container->mutable_spec()->set_type_url("types.containerd.io/opencontainers/runtime-spec/1/Spec");
  container->mutable_spec()->set_value(runtime_spec(client.space(), id_, workload_.command));
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
  if (const uint32_t status = wait(client); status != 128 + SIGKILL) {
    throw std::runtime_error("Tasks.Wait of " + id_ + " gave exit status " +
                             std::to_string(status) + " after SIGKILL");
  }
}

uint32_t Container::wait(Client& client) {
  tasks::WaitRequest request;
  request.set_container_id(id_);
  return client.call<tasks::WaitResponse>("/containerd.services.tasks.v1.Tasks/Wait", request)
      .exit_status();
}

void Container::exec(Client& client, const std::string& exec_id,
                     const std::vector<std::string>& command) {
  tasks::ExecProcessRequest request;
  request.set_container_id(id_);
  request.set_exec_id(exec_id);
  request.mutable_spec()->set_type_url("types.containerd.io/opencontainers/runtime-spec/1/Process");
  request.mutable_spec()->set_value(process_spec(command));
  (void)client.call<Empty>("/containerd.services.tasks.v1.Tasks/Exec", request);
  tasks::StartRequest start;
  start.set_container_id(id_);
  start.set_exec_id(exec_id);
  (void)client.call<tasks::StartResponse>("/containerd.services.tasks.v1.Tasks/Start", start);
  tasks::WaitRequest wait;
  wait.set_container_id(id_);
  wait.set_exec_id(exec_id);
  const auto ended =
      client.call<tasks::WaitResponse>("/containerd.services.tasks.v1.Tasks/Wait", wait);
  if (ended.exit_status() != 0) {
    throw std::runtime_error("Tasks.Wait of process " + exec_id + " in " + id_ +
                             " gave exit status " + std::to_string(ended.exit_status()));
  }
  tasks::DeleteProcessRequest remove;
  remove.set_container_id(id_);
  remove.set_exec_id(exec_id);
  (void)client.call<tasks::DeleteResponse>("/containerd.services.tasks.v1.Tasks/DeleteProcess",
                                           remove);
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
