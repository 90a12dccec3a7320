// The index of a database's log (SQLite's "shared memory") without a file behind it.
#pragma once

#include <berth/fd.h>
#include <sqlite3.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace berth::sqlite {

/// One per open database, shared by its connections. A mapped file would need room: when it is
/// opened, since SQLite empties it then, and on a file system that does not overwrite in place for
/// every page that is written to again, where SIGBUS tells that there is none. Functions answer
/// with codes of SQLite. Any thread.
class MemoryIndex {
 public:
  /// The index of the database file `path`. While it lives, other processes are told that the
  /// database is locked, by the lock that one holds who sets up `path`-shm. SQLITE_BUSY when
  /// another process is at it: SQLite asks again for about ten seconds.
  static int open(const std::string& path, std::shared_ptr<MemoryIndex>* out);

  /// Locks that a connection holds, a bit each.
  struct Held {
    uint32_t shared = 0;
    uint32_t exclusive = 0;
  };

  int map(int region, int size, bool extend, void volatile** out);
  int lock(Held* held, int first, int count, int flags);
  void barrier();

 private:
  UniqueFd guard_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<std::byte[]>> regions_;  // guarded by mutex_; never moved
  // Guarded by mutex_: holders of each lock, -1 for one who holds it alone.
  std::array<int, SQLITE_SHM_NLOCK> holders_{};
};

}  // namespace berth::sqlite
