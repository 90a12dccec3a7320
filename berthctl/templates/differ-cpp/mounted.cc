#include "mounted.h"

#include <berth/fd.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <thread>

namespace @ident@_plugin {
namespace {

berth::Status mount_one(const containerd::types::Mount& mount, const std::string& target) {
  unsigned long flags = 0;
  std::string data;
  for (const std::string& option : mount.options()) {
    if (option == "ro") {
      flags |= MS_RDONLY;
    } else if (option == "bind" || option == "rbind") {
      flags |= MS_BIND | (option == "rbind" ? MS_REC : 0);
    } else if (option != "rw") {
      data += (data.empty() ? "" : ",") + option;
    }
  }
  if (::mount(mount.source().c_str(), target.c_str(), mount.type().c_str(), flags, data.c_str()) != 0) {
    return berth::errno_status(errno, "mount " + mount.source() + " of type " + mount.type());
  }
  return {};
}

berth::Status enter(const std::vector<containerd::types::Mount>& mounts, const std::string& target) {
  // Of this thread's own: mounts, root, working directory and umask.
  if (::unshare(CLONE_NEWNS | CLONE_FS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return berth::errno_status(errno, "make a mount namespace");
  }
  (void)::umask(022);
  for (const auto& mount : mounts) BERTH_RETURN_IF_ERROR(mount_one(mount, target));
  if (::chroot(target.c_str()) != 0 || ::chdir("/") != 0) return berth::errno_status(errno, "enter " + target);
  return {};
}

berth::Status sync_here() {
  const berth::UniqueFd root(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root || ::syncfs(root.get()) != 0) return berth::errno_status(errno, "sync the layer's file system");
  return {};
}

}  // namespace

berth::Status in_root_of(const std::vector<containerd::types::Mount>& mounts, const std::string& folder,
                         const std::function<berth::Status()>& work) {
  std::string target = folder + "/mnt-XXXXXX";
  if (::mkdtemp(target.data()) == nullptr) return berth::errno_status(errno, "make a mount point in " + folder);
  berth::Status outcome;
  std::thread([&] {
    try {
      outcome = enter(mounts, target);
      if (outcome.ok()) outcome = work();
      if (outcome.ok()) outcome = sync_here();
    } catch (const std::exception& error) {
      outcome = berth::internal_error(std::string("a layer: ") + error.what());
    }
  }).join();
  if (::rmdir(target.c_str()) != 0 && outcome.ok()) outcome = berth::errno_status(errno, "remove " + target);
  return outcome;
}

}  // namespace @ident@_plugin
