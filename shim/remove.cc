#include "remove.h"

#include <berth/fault.h>
#include <berth/ttrpc/probe.h>

#include <cstdlib>
#include <thread>

#include "bootstrap.h"
#include "bundle.h"
#include "cgroup.h"
#include "children.h"
#include "containerd/runtime/task/v3/shim.pb.h"
#include "files.h"
#include "leftovers.h"
#include "mounts.h"
#include "runtime.h"
#include "spec.h"

namespace berth::shim {

Result<std::string> remove_leftovers(const Arguments& arguments) {
  std::string bundle = arguments.bundle;
  if (bundle.empty()) {
    char path[4096];
    if (::getcwd(path, sizeof path) == nullptr) return errno_status(errno, "find the bundle");
    bundle = path;
  }
  uint32_t pid = 0;
  if (const auto text = read_file(bundle + "/init.pid"); text.ok()) {
    pid = static_cast<uint32_t>(std::strtoul(text->c_str(), nullptr, 10));
  }
  Children children([](const Exit&) {});
  std::thread([&children] { children.serve(); }).detach();
  const Runtime runtime(&children, load_options(bundle), arguments.ns, bundle);
  BERTH_FAULT_POINT("shim.remove.begin");
  std::string cgroups_path;
  Arguments shim = arguments;
  if (const auto config = read_file(bundle + "/config.json"); config.ok()) {
    if (const auto facts = read_spec(*config); facts.ok()) {
      cgroups_path = facts->cgroups_path;
      if (!facts->group.empty()) shim.id = facts->group;
    }
  }
  // Not until its last child has let go of its socket: such a child may yet become a command. A
  // pod's shim may live on.
  const bool dead = !ttrpc::is_served(socket_path(shim.address, shim.ns, shim.id));
  // A command may wait in the container's cgroup already, and what is frozen does not die.
  thaw_cgroups(cgroups_path);
  end_commands(runtime, arguments.id, dead ? std::optional(shim) : std::nullopt);
  const Status removed = remove_half_made(runtime, arguments.id, cgroups_path);
  BERTH_FAULT_POINT("shim.remove.removed");
  const Status unmounted = unmount_rootfs(bundle + "/rootfs");
  BERTH_FAULT_POINT("shim.remove.unmounted");
  if (dead) remove_dead_socket(bundle);
  BERTH_RETURN_IF_ERROR(removed);
  BERTH_RETURN_IF_ERROR(unmounted);
  const Exit now = exit_now(0, 128 + 9);
  containerd::task::v3::DeleteResponse response;
  response.set_pid(pid);
  response.set_exit_status(now.status);
  response.mutable_exited_at()->set_seconds(now.seconds);
  response.mutable_exited_at()->set_nanos(now.nanos);
  return response.SerializeAsString();
}

}  // namespace berth::shim
