#include "vfs.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <new>
#include <string>

#include "memory_index.h"

namespace berth::sqlite {
namespace {

/// The log is made longer in steps of so many bytes.
constexpr sqlite3_int64 kLogStep = 256 << 10;

/// What stands behind SQLite's own record of a file.
struct Extra {
  const sqlite3_io_methods* base = nullptr;
  sqlite3_io_methods methods{};  // base with some functions replaced
  // Of a database:
  std::string path;
  std::shared_ptr<MemoryIndex> index;
  MemoryIndex::Held held;
  // Of a log:
  sqlite3_int64 size = 0;  // as far as this connection knows; it may be longer
};

sqlite3_vfs* unix_vfs() {
  static sqlite3_vfs* const vfs = sqlite3_vfs_find(nullptr);
  return vfs;
}

int base_size() {
  constexpr int kAlignment = alignof(Extra);
  return (unix_vfs()->szOsFile + kAlignment - 1) / kAlignment * kAlignment;
}

Extra* extra(sqlite3_file* file) {
  return std::launder(reinterpret_cast<Extra*>(reinterpret_cast<std::byte*>(file) + base_size()));
}

int close(sqlite3_file* file) {
  const sqlite3_io_methods* base = extra(file)->base;
  extra(file)->~Extra();
  return base->xClose(file);
}

int never_shorten(sqlite3_file* file, sqlite3_int64 size) {
  const sqlite3_io_methods* base = extra(file)->base;
  sqlite3_int64 now = 0;
  if (const int code = base->xFileSize(file, &now); code != SQLITE_OK) return code;
  return size <= now ? SQLITE_OK : base->xTruncate(file, size);
}

int map_index(sqlite3_file* file, int region, int size, int extend, void volatile** out) {
  Extra& more = *extra(file);
  if (!more.index) {
    if (const int code = MemoryIndex::open(more.path, &more.index); code != SQLITE_OK) return code;
  }
  return more.index->map(region, size, extend != 0, out);
}

int lock_index(sqlite3_file* file, int first, int count, int flags) {
  Extra& more = *extra(file);
  return more.index ? more.index->lock(&more.held, first, count, flags) : SQLITE_IOERR_SHMLOCK;
}

void index_barrier(sqlite3_file* file) {
  if (extra(file)->index) extra(file)->index->barrier();
}

int unmap_index(sqlite3_file* file, int) {
  Extra& more = *extra(file);
  if (more.index) {
    more.index->lock(&more.held, 0, SQLITE_SHM_NLOCK, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
  }
  more.index.reset();
  return SQLITE_OK;
}

/// What is behind the frame that a writer adds belongs to no generation of the log that anybody
/// reads, so it may be overwritten. What there is no room for is left to the frames themselves.
void write_zeros_ahead(sqlite3_file* file, sqlite3_int64 from) {
  static const std::array<char, 1 << 16> zeros{};
  Extra& more = *extra(file);
  const sqlite3_int64 to = (from / kLogStep + 1) * kLogStep;
  for (more.size = from; more.size < to;) {
    const auto piece = std::min<sqlite3_int64>(to - more.size, zeros.size());
    if (more.base->xWrite(file, zeros.data(), static_cast<int>(piece), more.size) != SQLITE_OK) {
      return;
    }
    more.size += piece;
  }
}

/// A commit that makes its file longer commits the journal of the file system with it, three times
/// the time of one that overwrites: so the log grows for several at once.
int write_log(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
  Extra& more = *extra(file);
  const int code = more.base->xWrite(file, data, size, offset);
  const sqlite3_int64 end = offset + size;
  if (code != SQLITE_OK || end <= more.size) return code;
  if (more.base->xFileSize(file, &more.size) == SQLITE_OK && more.size <= end) {
    write_zeros_ahead(file, end);
  }
  return SQLITE_OK;
}

int truncate_log(sqlite3_file* file, sqlite3_int64 size) {
  Extra& more = *extra(file);
  more.size = 0;
  return more.base->xTruncate(file, size);
}

Extra* extend(sqlite3_file* file) {
  auto* const more = new (reinterpret_cast<std::byte*>(file) + base_size()) Extra;
  more->base = file->pMethods;
  more->methods = *file->pMethods;
  more->methods.xClose = close;
  file->pMethods = &more->methods;
  return more;
}

int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
  const int code = unix_vfs()->xOpen(unix_vfs(), name, file, flags, out);
  if (code != SQLITE_OK) return code;
  if ((flags & SQLITE_OPEN_WAL) != 0) {
    Extra* const log = extend(file);
    log->methods.xWrite = write_log;
    log->methods.xTruncate = truncate_log;
    return code;
  }
  if ((flags & SQLITE_OPEN_MAIN_DB) == 0) return code;
  Extra* const more = extend(file);
  more->path = name;
  more->methods.xTruncate = never_shorten;
  more->methods.xShmMap = map_index;
  more->methods.xShmLock = lock_index;
  more->methods.xShmBarrier = index_barrier;
  more->methods.xShmUnmap = unmap_index;
  return SQLITE_OK;
}

/// In SQLite's list for as long as this code is loaded.
class Registration {
 public:
  Registration() : vfs_(*unix_vfs()) {
    // Every plugin has its own; SQLite's list is the process's.
    std::snprintf(name_, sizeof name_, "berth-%p", static_cast<void*>(this));
    vfs_.pNext = nullptr;
    vfs_.zName = name_;
    vfs_.szOsFile = base_size() + static_cast<int>(sizeof(Extra));
    vfs_.xOpen = open;
    sqlite3_vfs_register(&vfs_, 0);
  }
  ~Registration() { sqlite3_vfs_unregister(&vfs_); }
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;
  const char* name() const { return name_; }

 private:
  char name_[32];
  sqlite3_vfs vfs_;
};

}  // namespace

const char* vfs_name() {
  static const Registration registration;
  return registration.name();
}

}  // namespace berth::sqlite
