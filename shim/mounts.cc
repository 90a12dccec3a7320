#include "mounts.h"

#include <berth/loop_device.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>

namespace berth::shim {
namespace {

struct Flag {
  std::string_view name;
  unsigned long value;
  bool clears;
};

constexpr std::array kFlags = {Flag{"async", MS_SYNCHRONOUS, true},
                               Flag{"atime", MS_NOATIME, true},
                               Flag{"bind", MS_BIND, false},
                               Flag{"defaults", 0, false},
                               Flag{"dev", MS_NODEV, true},
                               Flag{"diratime", MS_NODIRATIME, true},
                               Flag{"dirsync", MS_DIRSYNC, false},
                               Flag{"exec", MS_NOEXEC, true},
                               Flag{"mand", MS_MANDLOCK, false},
                               Flag{"noatime", MS_NOATIME, false},
                               Flag{"nodev", MS_NODEV, false},
                               Flag{"nodiratime", MS_NODIRATIME, false},
                               Flag{"noexec", MS_NOEXEC, false},
                               Flag{"nomand", MS_MANDLOCK, true},
                               Flag{"norelatime", MS_RELATIME, true},
                               Flag{"nostrictatime", MS_STRICTATIME, true},
                               Flag{"nosuid", MS_NOSUID, false},
                               Flag{"rbind", MS_BIND | MS_REC, false},
                               Flag{"relatime", MS_RELATIME, false},
                               Flag{"remount", MS_REMOUNT, false},
                               Flag{"ro", MS_RDONLY, false},
                               Flag{"rw", MS_RDONLY, true},
                               Flag{"strictatime", MS_STRICTATIME, false},
                               Flag{"suid", MS_NOSUID, true},
                               Flag{"sync", MS_SYNCHRONOUS, false}};

constexpr std::array kPropagation = {
    Flag{"private", MS_PRIVATE, false},       Flag{"rprivate", MS_PRIVATE | MS_REC, false},
    Flag{"shared", MS_SHARED, false},         Flag{"rshared", MS_SHARED | MS_REC, false},
    Flag{"slave", MS_SLAVE, false},           Flag{"rslave", MS_SLAVE | MS_REC, false},
    Flag{"unbindable", MS_UNBINDABLE, false}, Flag{"runbindable", MS_UNBINDABLE | MS_REC, false}};

constexpr std::string_view kLower = "lowerdir=";

std::string joined(const std::vector<std::string>& parts, char separator) {
  std::string out;
  for (const std::string& part : parts) {
    if (!out.empty()) out.push_back(separator);
    out += part;
  }
  return out;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (true) {
    const size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// Moves the folder that all lower layers have in common from the option into `directory`.
void shorten_lower(std::vector<std::string>* data, std::string* directory) {
  for (std::string& option : *data) {
    if (!option.starts_with(kLower)) continue;
    std::vector<std::string> layers = split(std::string_view(option).substr(kLower.size()), ':');
    std::string common = layers.front();
    for (const std::string& layer : layers) {
      const auto different =
          std::mismatch(common.begin(), common.end(), layer.begin(), layer.end());
      common.erase(different.first, common.end());
    }
    common.erase(common.rfind('/') + 1);
    if (!common.starts_with("/") || common.size() < 2) return;
    for (std::string& layer : layers) layer.erase(0, common.size());
    option = std::string(kLower) + joined(layers, ':');
    *directory = common;
  }
}

Status mount_one(const Mount& mount, const std::string& target) {
  BERTH_ASSIGN_OR_RETURN(const MountCall call, mount_call(mount));
  if (!call.directory.empty() && ::chdir(call.directory.c_str()) != 0) {
    return errno_status(errno, "enter the layers' folder " + call.directory);
  }
  const std::string attempt = "mount " + mount.source + " at " + target + " as " + mount.type;
  std::string source = mount.source;
  LoopDevice device;  // until the mount holds it
  if (call.loop) {
    auto attached = attach_loop_device(mount.source, (call.flags & MS_RDONLY) != 0);
    if (!attached.ok()) return attached.status().with_context(attempt);
    device = *std::move(attached);
    source = device.path;
  }
  const bool bind = (call.flags & MS_BIND) != 0;
  const char* const data = call.data.empty() ? nullptr : call.data.c_str();
  const int mounted = ::mount(source.c_str(), target.c_str(), bind ? "" : mount.type.c_str(),
                              call.flags, bind ? nullptr : data);
  const int error = errno;
  if (!call.directory.empty() && ::chdir("/") != 0) return errno_status(errno, "enter /");
  if (mounted != 0) return errno_status(error, attempt);
  if (call.propagation != 0 && ::mount("", target.c_str(), "", call.propagation, nullptr) != 0) {
    return errno_status(errno, attempt + ": set its propagation");
  }
  // A bind mount takes its flags only in a second call.
  constexpr unsigned long kAlways = MS_BIND | MS_REC;
  if (bind && (call.flags & ~kAlways) != 0 &&
      ::mount("", target.c_str(), "", call.flags | MS_REMOUNT, nullptr) != 0) {
    return errno_status(errno, attempt + ": set its flags");
  }
  return {};
}

}  // namespace

Result<MountCall> mount_call(const Mount& mount) {
  MountCall out;
  std::vector<std::string> data;
  for (const std::string& option : mount.options) {
    const auto named = [&](const Flag& flag) { return flag.name == option; };
    if (const auto flag = std::find_if(kFlags.begin(), kFlags.end(), named); flag != kFlags.end()) {
      out.flags = flag->clears ? out.flags & ~flag->value : out.flags | flag->value;
    } else if (const auto kind = std::find_if(kPropagation.begin(), kPropagation.end(), named);
               kind != kPropagation.end()) {
      out.propagation = kind->value;
    } else if (option == "loop") {
      out.loop = true;
    } else if (!option.starts_with("X-containerd.")) {  // words for the daemon
      data.push_back(option);
    }
  }
  if (mount.type == "bind" && (out.flags & MS_BIND) == 0) out.flags |= MS_BIND;
  out.data = joined(data, ',');
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  if (out.data.size() >= page) {
    shorten_lower(&data, &out.directory);
    out.data = joined(data, ',');
  }
  if (out.data.size() >= page) {
    return invalid_argument("mount " + mount.type + ": its options have " +
                            std::to_string(out.data.size()) + " bytes, and the kernel takes " +
                            std::to_string(page - 1));
  }
  return out;
}

Status mount_rootfs(const std::vector<Mount>& mounts, const std::string& rootfs) {
  if (::mkdir(rootfs.c_str(), 0711) != 0 && errno != EEXIST) {
    return errno_status(errno, "make " + rootfs);
  }
  for (const Mount& mount : mounts) {
    if (mount.target.find("..") != std::string::npos) {
      return invalid_argument("mount at " + mount.target + " below " + rootfs +
                              ": the target leaves the root file system");
    }
    const std::string target =
        mount.target.empty() || mount.target == "/" ? rootfs : rootfs + "/" + mount.target;
    if (Status status = mount_one(mount, target); !status.ok()) {
      (void)unmount_rootfs(rootfs);
      return status;
    }
  }
  return {};
}

Status unmount_rootfs(const std::string& rootfs) {
  constexpr int kAttempts = 20;
  for (int attempt = 1;;) {
    if (::umount2(rootfs.c_str(), UMOUNT_NOFOLLOW | (attempt >= kAttempts ? MNT_DETACH : 0)) == 0) {
      continue;  // until nothing is mounted there
    }
    if (errno == EINVAL || errno == ENOENT) return {};
    if (errno == EINTR) continue;
    if (errno != EBUSY || attempt >= kAttempts) return errno_status(errno, "unmount " + rootfs);
    ++attempt;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

}  // namespace berth::shim
