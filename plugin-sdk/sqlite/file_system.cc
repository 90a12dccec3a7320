#include "file_system.h"

#include <berth/fd.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace berth::sqlite {
namespace {

constexpr uint32_t kBtrfs = 0x9123683e;  // statfs(2)

constexpr size_t kLogHeader = 32;  // sqlite.org/fileformat2.html, "WAL File Format"

// Where the file system cannot allocate without writing. What is no frame of the log's current
// generation is ignored by SQLite.
bool write_zeros(int fd, int64_t from, int64_t to) {
  const std::array<char, 1 << 16> zeros{};
  while (from < to) {
    const auto piece = static_cast<size_t>(std::min<int64_t>(to - from, zeros.size()));
    const ssize_t written = ::pwrite(fd, zeros.data(), piece, from);
    if (written <= 0) return false;
    from += written;
  }
  return true;
}

}  // namespace

void overwrite_in_place(int fd) {
  struct statfs system {};
  if (::fstatfs(fd, &system) != 0 || static_cast<uint32_t>(system.f_type) != kBtrfs) return;
  int flags = 0;
  if (::ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0) return;
  flags |= FS_NOCOW_FL;
  (void)::ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

bool allocate_log(const std::string& log, int64_t size) {
  const UniqueFd fd(::open(log.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  struct stat file {};
  if (!fd || ::fstat(fd.get(), &file) != 0) return false;
  if (file.st_size == 0) overwrite_in_place(fd.get());
  if (::fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, 0, size) == 0) return true;
  return errno == EOPNOTSUPP && write_zeros(fd.get(), file.st_size, size);
}

void empty_log(const std::string& log) {
  const UniqueFd fd(::open(log.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat file {};
  if (!fd || ::fstat(fd.get(), &file) != 0 || file.st_size == 0) return;
  const std::array<char, kLogHeader> zeros{};
  (void)!::pwrite(fd.get(), zeros.data(), zeros.size(), 0);  // a log that stays is read again
}

bool log_is_empty(const std::string& log) {
  const UniqueFd fd(::open(log.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  std::array<char, kLogHeader> header{};
  if (!fd || ::pread(fd.get(), header.data(), header.size(), 0) <= 0) return true;
  return std::all_of(header.begin(), header.end(), [](char byte) { return byte == 0; });
}

}  // namespace berth::sqlite
