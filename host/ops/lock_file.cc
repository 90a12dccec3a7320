#include "ops/lock_file.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <filesystem>

namespace berth::ops {

Result<UniqueFd> lock_file(const std::string& file, LockKind kind, const std::string& taken) {
  std::error_code error;
  const bool folder = std::filesystem::is_directory(file, error);
  UniqueFd lock(
      ::open(file.c_str(), (folder ? O_RDONLY | O_DIRECTORY : O_RDWR | O_CREAT) | O_CLOEXEC, 0600));
  if (!lock) return errno_status(errno, "open " + file);
  const int operation = (kind == LockKind::kAlone ? LOCK_EX : LOCK_SH) | LOCK_NB;
  if (::flock(lock.get(), operation) != 0) {
    if (errno != EWOULDBLOCK) return errno_status(errno, "lock " + file);
    return failed_precondition("lock " + file + ": " + taken);
  }
  return lock;
}

}  // namespace berth::ops
