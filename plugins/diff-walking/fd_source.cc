#include "fd_source.h"

#include <fcntl.h>
#include <unistd.h>

namespace berth::diff_walking {
namespace {
constexpr size_t kPiece = 256 << 10;
}

FdSource::FdSource(UniqueFd fd, std::string name)
    : fd_(std::move(fd)),
      name_(std::move(name)),
      buffer_(std::make_unique_for_overwrite<std::byte[]>(kPiece)) {
  ::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_SEQUENTIAL);  // only a hint
}

Result<std::span<const std::byte>> FdSource::next() {
  while (true) {
    const ssize_t got = ::pread(fd_.get(), buffer_.get(), kPiece, static_cast<off_t>(offset_));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_status(errno, "read " + name_);
    offset_ += static_cast<uint64_t>(got);
    return std::span<const std::byte>(buffer_.get(), static_cast<size_t>(got));
  }
}

}  // namespace berth::diff_walking
