#include "files.h"

#include <berth/spawn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

namespace berth::shim {
std::string read_all(int fd, size_t limit) {
  std::string out;
  std::array<char, 4096> buffer;
  while (out.size() < limit) {
    const ssize_t got = ::read(fd, buffer.data(), std::min(buffer.size(), limit - out.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    out.append(buffer.data(), static_cast<size_t>(got));
  }
  return out;
}

Result<std::string> read_file(const std::string& path, size_t limit) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errno_status(errno, "open " + path);
  std::string out = read_all(fd.get(), limit + 1);
  if (out.size() > limit) {
    return resource_exhausted("read " + path + ": it has more than " + std::to_string(limit) +
                              " bytes");
  }
  return out;
}

Status write_file(const std::string& path, std::string_view content, unsigned mode) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  if (!fd) return errno_status(errno, "create " + path);
  return write_all(fd.get(), content, path);
}

Result<UniqueFd> memory_file(const char* name, std::string_view content) {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC));
  if (!fd) return errno_status(errno, std::string("make a file in memory for ") + name);
  BERTH_RETURN_IF_ERROR(write_all(fd.get(), content, name));
  ::lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

void set_nonblocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

}  // namespace berth::shim
