#include "xattrs.h"

#include <sys/xattr.h>

#include "root_dir.h"

namespace berth::diff_walking {
namespace {

/// Calls `get(buffer, size)` with a buffer that grows as long as the answer is ERANGE; the result
/// or a negative errno.
template <typename Get>
ssize_t read_growing(std::string* buffer, const Get& get) {
  buffer->resize(256);  // enough for nearly all; the kernel's limit for both is 64 KiB
  while (true) {
    const ssize_t size = get(buffer->data(), buffer->size());
    if (size >= 0) {
      buffer->resize(static_cast<size_t>(size));
      return size;
    }
    if (errno != ERANGE || buffer->size() > 65536) return -errno;
    buffer->resize(buffer->size() * 16);
  }
}

}  // namespace

Result<std::vector<std::string>> list_xattrs(int fd, const std::string& name) {
  const std::string path = path_of_fd(fd);
  std::string buffer;
  const ssize_t size = read_growing(
      &buffer, [&](char* out, size_t room) { return ::listxattr(path.c_str(), out, room); });
  std::vector<std::string> keys;
  if (size == -EOPNOTSUPP) return keys;
  if (size < 0) return errno_status(static_cast<int>(-size), "list the attributes of " + name);
  for (size_t at = 0; at < buffer.size();) {
    keys.emplace_back(buffer.c_str() + at);
    at += keys.back().size() + 1;
  }
  return keys;
}

Result<std::optional<std::string>> get_xattr(int fd, const std::string& key,
                                             const std::string& name) {
  const std::string path = path_of_fd(fd);
  std::string value;
  const ssize_t size = read_growing(&value, [&](char* out, size_t room) {
    return ::getxattr(path.c_str(), key.c_str(), out, room);
  });
  if (size == -ENODATA || size == -EOPNOTSUPP) return std::optional<std::string>();
  if (size < 0) {
    return errno_status(static_cast<int>(-size), "read the attribute " + key + " of " + name);
  }
  return std::optional(std::move(value));
}

}  // namespace berth::diff_walking
