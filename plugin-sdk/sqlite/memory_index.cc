#include "memory_index.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <map>

namespace berth::sqlite {
namespace {

// The byte of `path`-shm that is locked by who uses it: sqlite.org/walformat.html, "WAL Locks".
constexpr off_t kInUseLock = 128;

using FileId = std::pair<dev_t, ino_t>;

// Plain pointers: made once, needed until the end.
std::mutex& table_mutex() {
  static auto* const mutex = new std::mutex;
  return *mutex;
}
std::map<FileId, std::weak_ptr<MemoryIndex>>& table() {
  static auto* const indexes = new std::map<FileId, std::weak_ptr<MemoryIndex>>;
  return *indexes;
}

bool lock_out_others(int fd) {
  struct flock others {};
  others.l_type = F_WRLCK;
  others.l_whence = SEEK_SET;
  others.l_start = kInUseLock;
  others.l_len = 1;
  return ::fcntl(fd, F_SETLK, &others) == 0;
}

}  // namespace

int MemoryIndex::open(const std::string& path, std::shared_ptr<MemoryIndex>* out) {
  struct stat file {};
  if (::stat(path.c_str(), &file) != 0) return SQLITE_IOERR_FSTAT;
  const std::lock_guard lock(table_mutex());
  std::erase_if(table(), [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<MemoryIndex>& known = table()[{file.st_dev, file.st_ino}];
  *out = known.lock();
  if (*out) return SQLITE_OK;
  auto fresh = std::make_shared<MemoryIndex>();
  fresh->guard_.reset(
      ::open((path + "-shm").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  // No room for another file: then others cannot make it either.
  if (!fresh->guard_ && errno != ENOSPC && errno != EDQUOT) return SQLITE_CANTOPEN;
  if (fresh->guard_ && !lock_out_others(fresh->guard_.get())) return SQLITE_BUSY;
  known = fresh;
  *out = std::move(fresh);
  return SQLITE_OK;
}

int MemoryIndex::map(int region, int size, bool extend, void volatile** out) {
  const std::lock_guard lock(mutex_);
  const auto wanted = static_cast<size_t>(region);
  while (extend && regions_.size() <= wanted) {
    regions_.push_back(std::make_unique<std::byte[]>(static_cast<size_t>(size)));  // zeros
  }
  *out = wanted < regions_.size() ? regions_[wanted].get() : nullptr;
  return SQLITE_OK;
}

int MemoryIndex::lock(Held* held, int first, int count, int flags) {
  const std::lock_guard lock(mutex_);
  const auto begin = static_cast<size_t>(first);
  const size_t end = begin + static_cast<size_t>(count);
  if ((flags & SQLITE_SHM_LOCK) != 0) {
    for (size_t i = begin; i < end; ++i) {
      const bool mine = ((held->shared | held->exclusive) >> i & 1) != 0;
      const bool free = (flags & SQLITE_SHM_SHARED) != 0 ? holders_[i] >= 0 : holders_[i] == 0;
      if (!mine && !free) return SQLITE_BUSY;
    }
  }
  for (size_t i = begin; i < end; ++i) {
    const uint32_t bit = 1U << i;
    if ((flags & SQLITE_SHM_UNLOCK) != 0) {
      if ((held->exclusive & bit) != 0) holders_[i] = 0;
      if ((held->shared & bit) != 0) --holders_[i];
      held->exclusive &= ~bit;
      held->shared &= ~bit;
    } else if (((held->shared | held->exclusive) & bit) == 0) {
      if ((flags & SQLITE_SHM_SHARED) != 0) {
        ++holders_[i];
        held->shared |= bit;
      } else {
        holders_[i] = -1;
        held->exclusive |= bit;
      }
    }
  }
  return SQLITE_OK;
}

void MemoryIndex::barrier() { const std::lock_guard lock(mutex_); }

}  // namespace berth::sqlite
