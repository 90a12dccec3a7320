#include "overlay_support.h"

#include <berth/fd.h>
#include <berth/file_tree.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace berth::overlay {
namespace {

// "a=b" and "a" both set option a.
bool sets(const std::vector<std::string>& options, std::string_view key) {
  return std::any_of(options.begin(), options.end(), [&](std::string_view option) {
    return option.substr(0, option.find('=')) == key;
  });
}

// overlayfs tells whiteouts from files by the type that readdir gives (XFS made with ftype=0 gives
// none).
Status check_entry_types(const std::string& directory) {
  DIR* dir = ::opendir(directory.c_str());
  if (dir == nullptr) return errno_status(errno, "open directory " + directory);
  bool typed = true;
  while (const dirent* entry = ::readdir(dir)) typed = typed && entry->d_type != DT_UNKNOWN;
  ::closedir(dir);
  if (!typed) {
    return failed_precondition("the file system of " + directory +
                               " does not tell the types of directory entries (d_type), which "
                               "overlayfs needs; an XFS must be made with -n ftype=1");
  }
  return {};
}

// The file system alone, which is mounted nowhere: mounting and unmounting wait for the kernel's
// grace periods, which took a fifth of the daemon's start. It goes with its descriptor.
Status try_overlay(const std::string& folder) {
  // An option's value has at most 255 bytes, so the directories are named by way of a descriptor.
  const UniqueFd parent(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!parent) return errno_status(errno, "open directory " + folder);
  const std::string here = "/proc/self/fd/" + std::to_string(parent.get());
  const UniqueFd overlay(::fsopen("overlay", FSOPEN_CLOEXEC));
  if (!overlay) return errno_status(errno, "open the file system overlay");
  const auto set = [&](unsigned command, const char* key, const std::string& value) -> Status {
    const char* const text = command == FSCONFIG_SET_STRING ? value.c_str() : nullptr;
    if (::fsconfig(overlay.get(), command, key, text, 0) == 0) return {};
    return errno_status(errno, key == nullptr ? "make an overlay of directories in " + folder
                                              : std::string("set ") + key + " of an overlay");
  };
  BERTH_RETURN_IF_ERROR(set(FSCONFIG_SET_STRING, "lowerdir", here + "/lower2:" + here + "/lower1"));
  BERTH_RETURN_IF_ERROR(set(FSCONFIG_SET_STRING, "upperdir", here + "/upper"));
  BERTH_RETURN_IF_ERROR(set(FSCONFIG_SET_STRING, "workdir", here + "/work"));
  if (in_user_namespace()) BERTH_RETURN_IF_ERROR(set(FSCONFIG_SET_FLAG, "userxattr", {}));
  return set(FSCONFIG_CMD_CREATE, nullptr, {});
}

// The host id that a mapping gives to container id 0.
Result<uint32_t> host_root(std::string_view label, std::string_view mapping) {
  const auto broken = [&](const char* why) {
    return invalid_argument("label " + std::string(label) + "=\"" + std::string(mapping) + "\": " +
                            why + "; wanted is CONTAINER:HOST:SIZE[,CONTAINER:HOST:SIZE…]");
  };
  std::optional<uint32_t> root;
  for (std::string_view rest = mapping;;) {
    const size_t comma = rest.find(',');
    std::string_view entry = rest.substr(0, comma);
    uint32_t numbers[3] = {};
    for (int i = 0; i < 3; ++i) {
      const auto [end, error] =
          std::from_chars(entry.data(), entry.data() + entry.size(), numbers[i]);
      if (error != std::errc()) return broken("not a number");
      entry.remove_prefix(static_cast<size_t>(end - entry.data()));
      if (i == 2) break;
      if (!entry.starts_with(':')) return broken("an entry has not three parts");
      entry.remove_prefix(1);
    }
    if (!entry.empty()) return broken("an entry has more than three parts");
    if (numbers[2] == 0) return broken("an entry is of size 0");
    if (numbers[0] == 0) root = numbers[1];
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  if (!root) return broken("id 0 is not mapped");
  return *root;
}

}  // namespace

Status check_support(const std::string& directory) {
  std::string folder = directory + "/overlay-check-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return errno_status(errno, "make directory " + folder);
  const berth::Cleanup cleanup([&] { (void)remove_tree(folder); });
  for (const char* name : {"/lower1", "/lower2", "/upper", "/work"}) {
    if (::mkdir((folder + name).c_str(), 0755) != 0) {
      return errno_status(errno, "make directory " + folder + name);
    }
  }
  BERTH_RETURN_IF_ERROR(check_entry_types(folder));
  if (const Status tried = try_overlay(folder); !tried.ok()) {
    return failed_precondition("overlayfs does not work in " + directory + ": " + tried.message() +
                               "; another file system below it, or another snapshotter, may help");
  }
  return {};
}

bool in_user_namespace() {
  // The first user namespace maps all ids to themselves.
  std::ifstream map("/proc/self/uid_map");
  uint64_t inside = 0;
  uint64_t outside = 0;
  uint64_t size = 0;
  if (!(map >> inside >> outside >> size)) return false;
  return inside != 0 || outside != 0 || size != 4294967295U;
}

bool kernel_has_parameter(const std::string& name) {
  return ::access(("/sys/module/overlay/parameters/" + name).c_str(), F_OK) == 0;
}

std::vector<std::string> with_needed_options(std::vector<std::string> configured, bool userxattr,
                                             bool kernel_has_index) {
  // The kernel takes the last of two, so what is configured must not be followed by another value.
  if (userxattr && !sets(configured, "userxattr")) configured.emplace_back("userxattr");
  if (kernel_has_index && !sets(configured, "index")) configured.emplace_back("index=off");
  return configured;
}

bool supports_idmapped_layers() {
  utsname name{};
  int major = 0;
  int minor = 0;
  if (::uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2) return false;
  return major > 5 || (major == 5 && minor >= 19);
}

Result<std::optional<Owner>> mapped_root(const SnapshotLabels& labels) {
  const auto uid = labels.find(kUidMappingLabel);
  const auto gid = labels.find(kGidMappingLabel);
  if (uid == labels.end() && gid == labels.end()) return std::optional<Owner>();
  if (uid == labels.end() || gid == labels.end()) {
    return invalid_argument("labels " + std::string(kUidMappingLabel) + " and " +
                            std::string(kGidMappingLabel) + " must be set together");
  }
  BERTH_ASSIGN_OR_RETURN(const uint32_t user, host_root(uid->first, uid->second));
  BERTH_ASSIGN_OR_RETURN(const uint32_t group, host_root(gid->first, gid->second));
  return std::optional<Owner>(Owner{user, group});
}

}  // namespace berth::overlay
