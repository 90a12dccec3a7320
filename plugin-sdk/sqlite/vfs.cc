#include "vfs.h"

#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <new>
#include <string>

#include "memory_index.h"

namespace berth::sqlite {
namespace {

/// What stands behind SQLite's own record of a database file.
struct Extra {
  const sqlite3_io_methods* base = nullptr;
  sqlite3_io_methods methods{};  // base with some functions replaced
  std::string path;
  std::shared_ptr<MemoryIndex> index;
  MemoryIndex::Held held;
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

int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
  const int code = unix_vfs()->xOpen(unix_vfs(), name, file, flags, out);
  if (code != SQLITE_OK || (flags & SQLITE_OPEN_MAIN_DB) == 0) return code;
  auto* const more = new (reinterpret_cast<std::byte*>(file) + base_size()) Extra;
  more->base = file->pMethods;
  more->methods = *file->pMethods;
  more->path = name;
  more->methods.xClose = close;
  more->methods.xTruncate = never_shorten;
  more->methods.xShmMap = map_index;
  more->methods.xShmLock = lock_index;
  more->methods.xShmBarrier = index_barrier;
  more->methods.xShmUnmap = unmap_index;
  file->pMethods = &more->methods;
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
