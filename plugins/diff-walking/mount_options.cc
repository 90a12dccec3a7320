#include <sys/mount.h>

#include <algorithm>
#include <array>

#include "mount.h"

namespace berth::diff_walking {
namespace {

struct Flag {
  std::string_view name;
  unsigned long flag;
  bool clears = false;
};

// fstab(5) and mount(8): what is a flag of the system call. Everything else is for the file system.
constexpr std::array kFlags = {
    Flag{"async", MS_SYNCHRONOUS, true},
    Flag{"atime", MS_NOATIME, true},
    Flag{"bind", MS_BIND},
    Flag{"defaults", 0},
    Flag{"dev", MS_NODEV, true},
    Flag{"diratime", MS_NODIRATIME, true},
    Flag{"dirsync", MS_DIRSYNC},
    Flag{"exec", MS_NOEXEC, true},
    Flag{"mand", MS_MANDLOCK},
    Flag{"noatime", MS_NOATIME},
    Flag{"nodev", MS_NODEV},
    Flag{"nodiratime", MS_NODIRATIME},
    Flag{"noexec", MS_NOEXEC},
    Flag{"nomand", MS_MANDLOCK, true},
    Flag{"norelatime", MS_RELATIME, true},
    Flag{"nostrictatime", MS_STRICTATIME, true},
    Flag{"nosuid", MS_NOSUID},
    Flag{"rbind", MS_BIND | MS_REC},
    Flag{"relatime", MS_RELATIME},
    Flag{"remount", MS_REMOUNT},
    Flag{"ro", MS_RDONLY},
    Flag{"rw", MS_RDONLY, true},
    Flag{"strictatime", MS_STRICTATIME},
    Flag{"suid", MS_NOSUID, true},
    Flag{"sync", MS_SYNCHRONOUS},
};

constexpr std::array kPropagation = {
    Flag{"private", MS_PRIVATE},       Flag{"rprivate", MS_PRIVATE | MS_REC},
    Flag{"shared", MS_SHARED},         Flag{"rshared", MS_SHARED | MS_REC},
    Flag{"slave", MS_SLAVE},           Flag{"rslave", MS_SLAVE | MS_REC},
    Flag{"unbindable", MS_UNBINDABLE}, Flag{"runbindable", MS_UNBINDABLE | MS_REC},
};

std::string unescaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    out += text[i];
  }
  return out;
}

/// At colons that no backslash protects; the pieces keep their escapes.
std::vector<std::string_view> split_layers(std::string_view text) {
  std::vector<std::string_view> out;
  size_t start = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] == '\\') {
      ++i;
    } else if (i == text.size() || text[i] == ':') {
      if (i > start) out.push_back(text.substr(start, i - start));
      start = i + 1;
    }
  }
  return out;
}

constexpr std::string_view kLower = "lowerdir=";
constexpr std::string_view kUpper = "upperdir=";
constexpr std::string_view kWork = "workdir=";

}  // namespace

Result<MountOptions> parse_mount_options(const std::vector<std::string>& options) {
  MountOptions out;
  for (const std::string& option : options) {
    const auto named = [&](const Flag& flag) { return flag.name == option; };
    if (const auto* flag = std::find_if(kFlags.begin(), kFlags.end(), named);
        flag != kFlags.end()) {
      if (flag->clears) {
        out.flags &= ~flag->flag;
      } else {
        out.flags |= flag->flag;
      }
    } else if (const auto* kind = std::find_if(kPropagation.begin(), kPropagation.end(), named);
               kind != kPropagation.end()) {
      out.propagation |= kind->flag;
    } else if (option == "loop") {
      out.loop = true;
    } else if (option.starts_with("uidmap=") || option.starts_with("gidmap=") ||
               option.starts_with("X-containerd.")) {
      return unimplemented("mount with the option \"" + option +
                           "\": the differ does not support it; use a snapshotter without it");
    } else {
      out.data.push_back(option);
    }
  }
  return out;
}

OverlayLayers overlay_layers(const std::vector<std::string>& options) {
  OverlayLayers out;
  for (const std::string& option : options) {
    const std::string_view text = option;
    if (text.starts_with(kUpper)) {
      out.upper = unescaped(text.substr(kUpper.size()));
    } else if (text.starts_with(kLower)) {
      out.lower.clear();
      for (const std::string_view layer : split_layers(text.substr(kLower.size()))) {
        out.lower.push_back(unescaped(layer));
      }
    } else if (text == "userxattr") {
      out.user_xattr = true;
    }
  }
  return out;
}

std::vector<Mount> read_only_mounts(const std::vector<Mount>& mounts) {
  std::vector<Mount> out = mounts;
  for (Mount& mount : out) {
    std::string upper;
    std::vector<std::string> kept;
    for (std::string& option : mount.options) {
      const bool overlay = mount.type == "overlay";
      if (option == "rw" || option == "ro") continue;
      if (overlay && option.starts_with(kWork)) continue;
      if (overlay && option == "volatile") continue;  // speaks of the upper directory
      if (overlay && option.starts_with(kUpper)) {
        upper = option.substr(kUpper.size());
        continue;
      }
      kept.push_back(std::move(option));
    }
    if (!upper.empty()) {
      for (std::string& option : kept) {
        if (option.starts_with(kLower)) option.insert(kLower.size(), upper + ":");
      }
    }
    kept.emplace_back("ro");
    mount.options = std::move(kept);
  }
  return out;
}

CompactedOverlay compact_overlay_options(const std::vector<std::string>& options) {
  const auto found = std::find_if(options.begin(), options.end(), [](const std::string& option) {
    return option.starts_with(kLower);
  });
  if (found == options.end()) return {};
  const std::vector<std::string_view> layers =
      split_layers(std::string_view(*found).substr(kLower.size()));
  if (layers.size() < 2) return {};
  std::string_view common = layers.front();
  for (const std::string_view layer : layers) {
    const auto [a, b] = std::mismatch(common.begin(), common.end(), layer.begin(), layer.end());
    common = common.substr(0, static_cast<size_t>(a - common.begin()));
  }
  // Back to a whole component; the rest of each layer must not be empty.
  const size_t slash = common.rfind('/');
  if (slash == std::string_view::npos || slash == 0) return {};
  common = common.substr(0, slash);
  CompactedOverlay out{unescaped(common), options};
  std::string joined(kLower);
  for (const std::string_view layer : layers) {
    if (joined.size() > kLower.size()) joined += ':';
    joined += layer.substr(common.size() + 1);
  }
  out.options[static_cast<size_t>(found - options.begin())] = std::move(joined);
  return out;
}

}  // namespace berth::diff_walking
