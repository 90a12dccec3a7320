#include "mount.h"

#include <berth/loop_device.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <thread>

namespace berth::diff_walking {
namespace {

// What the kernel copies from the caller for one mount, and for one value of fsconfig, both with
// the final NUL.
constexpr size_t kMaxMountData = 4096;
constexpr size_t kMaxConfigValue = 256;

/// "mount overlay": what was attempted, for messages.
std::string attempt(const Mount& mount) {
  const std::string type = mount.type.empty() ? "bind" : mount.type;
  return "mount " + type + (mount.source.empty() ? "" : " " + mount.source);
}

/// What the file system has said about a configuration, for the message. Lines are "e text", "w
/// text", "i text".
std::string config_log(int config) {
  std::string text;
  std::array<char, 1024> line{};
  for (ssize_t size; (size = ::read(config, line.data(), line.size())) > 0;) {
    text += " (" + std::string(line.data(), static_cast<size_t>(size)) + ")";
  }
  return text;
}

struct Attribute {
  unsigned long flag;
  unsigned attribute;
};
constexpr std::array kAttributes = {
    Attribute{MS_RDONLY, MOUNT_ATTR_RDONLY},
    Attribute{MS_NOSUID, MOUNT_ATTR_NOSUID},
    Attribute{MS_NODEV, MOUNT_ATTR_NODEV},
    Attribute{MS_NOEXEC, MOUNT_ATTR_NOEXEC},
    Attribute{MS_NOATIME, MOUNT_ATTR_NOATIME},
    Attribute{MS_NODIRATIME, MOUNT_ATTR_NODIRATIME},
    Attribute{MS_RELATIME, 0},
};

/// Nothing when a flag has no counterpart.
std::optional<unsigned> attributes_of(unsigned long flags) {
  unsigned out = 0;
  for (const Attribute& known : kAttributes) {
    if ((flags & known.flag) != 0) out |= known.attribute;
    flags &= ~known.flag;
  }
  if (flags != 0) return std::nullopt;
  return out;
}

bool is_bind(const Mount& mount, const MountOptions& options) {
  return (options.flags & MS_BIND) != 0 || mount.type == "bind" || mount.type == "rbind";
}

/// The device of a mount that wants one, which becomes its source. To be held until it is mounted.
Result<LoopDevice> attach_loop(const MountOptions& options, Mount* mount) {
  if (!options.loop) return LoopDevice();
  auto device = attach_loop_device(mount->source, (options.flags & MS_RDONLY) != 0);
  if (!device.ok()) return device.status().with_context(attempt(*mount));
  mount->source = device->path;
  return device;
}

/// A copy of a tree that no path leads to. UNIMPLEMENTED: try it the other way.
Result<UniqueFd> detached_bind(const Mount& mount, const MountOptions& options) {
  const bool recursive = (options.flags & MS_REC) != 0 || mount.type == "rbind";
  const std::optional<unsigned> attributes =
      attributes_of(options.flags & ~static_cast<unsigned long>(MS_BIND | MS_REC));
  if (!attributes) return unimplemented("flags without counterpart");
  const unsigned depth = recursive ? AT_RECURSIVE : 0u;
  UniqueFd tree(
      ::open_tree(AT_FDCWD, mount.source.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | depth));
  if (!tree) {
    if (errno == ENOENT || errno == ENOTDIR) return errno_status(errno, attempt(mount));
    return unimplemented("open_tree");
  }
  if (*attributes != 0) {
    mount_attr attr{};
    attr.attr_set = *attributes;
    if (::mount_setattr(tree.get(), "", AT_EMPTY_PATH | depth, &attr, sizeof attr) != 0) {
      return unimplemented("mount_setattr");
    }
  }
  return tree;
}

Status configure(int config, const std::string& key, const std::string& value) {
  if (value.size() >= kMaxConfigValue) return unimplemented("a value is too long for fsconfig");
  if (::fsconfig(config, FSCONFIG_SET_STRING, key.c_str(), value.c_str(), 0) == 0) return {};
  return unimplemented("fsconfig " + key + config_log(config));
}

Status configure_option(int config, const Mount& mount, const std::string& option) {
  const size_t equals = option.find('=');
  if (equals == std::string::npos) {
    if (::fsconfig(config, FSCONFIG_SET_FLAG, option.c_str(), nullptr, 0) == 0) return {};
    return unimplemented("fsconfig " + option + config_log(config));
  }
  const std::string key = option.substr(0, equals);
  if (mount.type == "overlay" && key == "lowerdir") {
    // One by one: no limit by the size of a page, and no escapes.
    for (const std::string& layer : overlay_layers({option}).lower) {
      BERTH_RETURN_IF_ERROR(configure(config, "lowerdir+", layer));
    }
    return {};
  }
  if (mount.type == "overlay" && key == "upperdir") {
    return configure(config, key, overlay_layers({option}).upper);
  }
  return configure(config, key, option.substr(equals + 1));
}

/// Before Linux 6.5 the options of an overlay were one text: fsconfig takes any name, and only the
/// creation finds out that it does not know "lowerdir+".
bool overlay_takes_single_options() {
  static const bool takes = [] {
    const UniqueFd config(::fsopen("overlay", FSOPEN_CLOEXEC));
    return config && ::fsconfig(config.get(), FSCONFIG_SET_STRING, "no-such-option", "", 0) != 0;
  }();
  return takes;
}

/// A new mount of a file system that no path leads to. UNIMPLEMENTED: try it the other way.
Result<UniqueFd> detached_file_system(Mount mount, const MountOptions& options) {
  BERTH_ASSIGN_OR_RETURN(const LoopDevice device, attach_loop(options, &mount));
  const std::optional<unsigned> attributes = attributes_of(options.flags);
  if (!attributes) return unimplemented("flags without counterpart");
  if (mount.type == "overlay" && !overlay_takes_single_options()) {
    return unimplemented("the options of an overlay one by one");
  }
  UniqueFd config(::fsopen(mount.type.c_str(), FSOPEN_CLOEXEC));
  if (!config) return unimplemented("fsopen");
  if (!mount.source.empty()) BERTH_RETURN_IF_ERROR(configure(config.get(), "source", mount.source));
  for (const std::string& option : options.data) {
    BERTH_RETURN_IF_ERROR(configure_option(config.get(), mount, option));
  }
  if ((options.flags & MS_RDONLY) != 0 &&
      ::fsconfig(config.get(), FSCONFIG_SET_FLAG, "ro", nullptr, 0) != 0) {
    return unimplemented("fsconfig ro");
  }
  if (::fsconfig(config.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    const int error = errno;
    return errno_status(error, attempt(mount) + config_log(config.get()));
  }
  UniqueFd tree(::fsmount(config.get(), FSMOUNT_CLOEXEC, *attributes));
  if (!tree) return errno_status(errno, attempt(mount) + config_log(config.get()));
  return tree;
}

std::string joined(const std::vector<std::string>& options) {
  std::string out;
  for (const std::string& option : options) out += (out.empty() ? "" : ",") + option;
  return out;
}

/// mount(2) with another working directory, on a thread that has one of its own.
int mount_in(const std::string& directory, const Mount& mount, const std::string& target,
             unsigned long flags, const std::string& data) {
  int error = 0;
  std::thread([&] {
    if (::unshare(CLONE_FS) != 0 || ::chdir(directory.c_str()) != 0 ||
        ::mount(mount.source.c_str(), target.c_str(), mount.type.c_str(), flags, data.c_str()) !=
            0) {
      error = errno;
    }
  }).join();
  return error;
}

Status attach(Mount mount, const std::string& target) {
  BERTH_ASSIGN_OR_RETURN(MountOptions options, parse_mount_options(mount.options));
  BERTH_ASSIGN_OR_RETURN(const LoopDevice device, attach_loop(options, &mount));
  const std::string what = attempt(mount) + " on " + target;
  if (is_bind(mount, options)) {
    if (mount.type == "rbind") options.flags |= MS_REC;
    if (::mount(mount.source.c_str(), target.c_str(), nullptr, MS_BIND | (options.flags & MS_REC),
                nullptr) != 0) {
      return errno_status(errno, what);
    }
    const unsigned long more = options.flags & ~static_cast<unsigned long>(MS_BIND | MS_REC);
    if (more != 0 &&
        ::mount(nullptr, target.c_str(), nullptr, more | MS_BIND | MS_REMOUNT, nullptr) != 0) {
      const int error = errno;
      ::umount2(target.c_str(), MNT_DETACH);
      return errno_status(error, what + " (flags)");
    }
    return {};
  }
  std::string data = joined(options.data);
  std::string directory;
  if (mount.type == "overlay" && data.size() >= kMaxMountData - 512) {
    CompactedOverlay compact = compact_overlay_options(options.data);
    if (!compact.directory.empty()) {
      data = joined(compact.options);
      directory = compact.directory;
    }
  }
  if (data.size() >= kMaxMountData) {
    return invalid_argument(what + ": the options are " + std::to_string(data.size()) +
                            " bytes long, the kernel takes " + std::to_string(kMaxMountData - 1));
  }
  int error = 0;
  if (!directory.empty()) {
    error = mount_in(directory, mount, target, options.flags, data);
  } else if (::mount(mount.source.c_str(), target.c_str(), mount.type.c_str(), options.flags,
                     data.c_str()) != 0) {
    error = errno;
  }
  if (error != 0) return errno_status(error, what + " with " + data);
  return {};
}

}  // namespace

MountedTree::MountedTree(MountedTree&& other) noexcept
    : root_(std::move(other.root_)),
      mount_point_(std::exchange(other.mount_point_, {})),
      attached_(std::exchange(other.attached_, 0)) {}

MountedTree::~MountedTree() { (void)unmount(); }

Status MountedTree::unmount() {
  root_.reset();
  Status status;
  for (; attached_ > 0; --attached_) {
    // Detached lazily: only our own descriptors could hold it, and they are closed.
    if (::umount2(mount_point_.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) {
      status = errno_status(errno, "unmount " + mount_point_);
    }
  }
  if (!mount_point_.empty() && status.ok() && ::rmdir(mount_point_.c_str()) != 0) {
    status = errno_status(errno, "remove the mount point " + mount_point_);
  }
  mount_point_.clear();
  return status;
}

Result<MountedTree> MountedTree::mount(const std::vector<Mount>& mounts,
                                       const std::string& temp_dir, Method method) {
  if (mounts.empty()) return invalid_argument("there is no mount to work on");
  for (const Mount& mount : mounts) {
    if (mount.type.starts_with("fuse.") || mount.type.starts_with("fuse3.") ||
        mount.type.find('/') != std::string::npos) {
      return unimplemented(attempt(mount) + ": the differ does not support this type");
    }
  }
  if (mounts.size() == 1 && mounts[0].target.empty() && method == Method::kBest) {
    BERTH_ASSIGN_OR_RETURN(const MountOptions options, parse_mount_options(mounts[0].options));
    Result<UniqueFd> tree = is_bind(mounts[0], options) ? detached_bind(mounts[0], options)
                                                        : detached_file_system(mounts[0], options);
    if (tree.ok()) {
      MountedTree out;
      BERTH_ASSIGN_OR_RETURN(out.root_,
                             RootDir::adopt(std::move(tree).value(), "the " + attempt(mounts[0])));
      return out;
    }
    if (tree.status().code() != Code::kUnimplemented) return tree.status();
  }
  return mount_attached(mounts, temp_dir);
}

Result<MountedTree> MountedTree::mount_attached(const std::vector<Mount>& mounts,
                                                const std::string& temp_dir) {
  MountedTree out;
  std::string pattern = temp_dir + "/berth-mount-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) {
    return errno_status(errno, "make a mount point in " + temp_dir);
  }
  out.mount_point_ = pattern;
  for (const Mount& mount : mounts) {
    if (mount.target.empty() || mount.target == "/") {
      BERTH_RETURN_IF_ERROR(attach(mount, out.mount_point_));
      ++out.attached_;
      continue;
    }
    // Inside what is mounted already; it goes away together with that.
    BERTH_ASSIGN_OR_RETURN(const RootDir root, RootDir::open(out.mount_point_));
    UniqueFd target(root.resolve(mount.target, O_PATH));
    if (!target) {
      return errno_status(-target.release(), attempt(mount) + " on " + mount.target);
    }
    if (out.attached_ == 0) {
      return failed_precondition(attempt(mount) + ": nothing is mounted that could hold " +
                                 mount.target);
    }
    BERTH_RETURN_IF_ERROR(attach(mount, path_of_fd(target.get())));
  }
  BERTH_ASSIGN_OR_RETURN(out.root_, RootDir::open(out.mount_point_));
  return out;
}

Status remove_stale_mount_points(const std::string& temp_dir) {
  BERTH_ASSIGN_OR_RETURN(const RootDir dir, RootDir::open(temp_dir));
  return for_each_name(dir.fd(), [&](const std::string& name) -> Status {
    const bool empty = name.starts_with("berth-empty-");
    if (!empty && !name.starts_with("berth-mount-")) return {};
    const std::string path = temp_dir + "/" + name;
    while (!empty && ::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
    }
    // rmdir, nothing else: should a file system still be mounted here, it is not ours to empty.
    if (::rmdir(path.c_str()) != 0)
      return errno_status(errno, "remove the stale directory " + path);
    return {};
  });
}

}  // namespace berth::diff_walking
