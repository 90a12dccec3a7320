#include "remove.h"

#include <cstdlib>
#include <thread>

#include "bootstrap.h"
#include "bundle.h"
#include "children.h"
#include "containerd/runtime/task/v3/shim.pb.h"
#include "files.h"
#include "mounts.h"
#include "runtime.h"

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
  BERTH_RETURN_IF_ERROR(runtime.remove(arguments.id, true));
  BERTH_RETURN_IF_ERROR(unmount_rootfs(bundle + "/rootfs"));
  remove_dead_socket(bundle);
  const Exit now = exit_now(0, 128 + 9);
  containerd::task::v3::DeleteResponse response;
  response.set_pid(pid);
  response.set_exit_status(now.status);
  response.mutable_exited_at()->set_seconds(now.seconds);
  response.mutable_exited_at()->set_nanos(now.nanos);
  return response.SerializeAsString();
}

}  // namespace berth::shim
