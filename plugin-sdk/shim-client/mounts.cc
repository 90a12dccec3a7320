#include <berth/shim_client/mounts.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <thread>

namespace berth::shim_client {
namespace {

// The kernel writes space, tab, newline and backslash as \ooo.
std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto octal = [&](size_t at) {
      return at < text.size() && text[at] >= '0' && text[at] <= '7';
    };
    if (text[i] == '\\' && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      out.push_back(static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                      (text[i + 3] - '0')));
      i += 3;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

// Spares reading the whole mount table in the usual case that a shim has cleaned up.
bool is_plain_directory(const std::string& path) {
  struct statx found {};
  if (::statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_TYPE, &found) != 0) {
    return errno == ENOENT;
  }
  return (found.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0 &&
         (found.stx_attributes & STATX_ATTR_MOUNT_ROOT) == 0;
}

Status unmount(const std::string& path) {
  constexpr int kAttempts = 10;
  for (int attempt = 1;; ++attempt) {
    const int flags = UMOUNT_NOFOLLOW | (attempt == kAttempts ? MNT_DETACH : 0);
    if (::umount2(path.c_str(), flags) == 0 || errno == EINVAL || errno == ENOENT) return {};
    if (errno == EINTR) continue;
    if (errno != EBUSY || attempt == kAttempts) return errno_status(errno, "unmount " + path);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

}  // namespace

std::vector<std::string> mounts_below(std::string_view mountinfo, std::string_view directory) {
  std::vector<std::string> found;
  while (!mountinfo.empty()) {
    const size_t end = std::min(mountinfo.find('\n'), mountinfo.size());
    std::string_view line = mountinfo.substr(0, end);
    mountinfo.remove_prefix(std::min(end + 1, mountinfo.size()));
    for (int field = 0; field < 4 && !line.empty(); ++field) {
      line.remove_prefix(std::min(line.find(' '), line.size()));
      if (!line.empty()) line.remove_prefix(1);
    }
    const std::string point = unescape(line.substr(0, line.find(' ')));
    if (point == directory || point.starts_with(std::string(directory) + "/")) {
      found.push_back(point);
    }
  }
  return found;
}

Status unmount_below(const std::string& directory) {
  if (is_plain_directory(directory)) return {};
  std::ifstream file("/proc/self/mountinfo");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad())
    return internal_error("unmount " + directory + ": cannot read /proc/self/mountinfo");
  const auto points = mounts_below(text, directory);
  // The table lists mounts in the order in which they were made.
  for (auto point = points.rbegin(); point != points.rend(); ++point) {
    BERTH_RETURN_IF_ERROR(unmount(*point));
  }
  return {};
}

}  // namespace berth::shim_client
