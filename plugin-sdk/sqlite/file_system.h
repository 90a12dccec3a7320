// What a database wants of its file system so that a full one does not stop it.
#pragma once

#include <cstdint>
#include <string>

namespace berth::sqlite {

/// The log of a database.
inline std::string log_of(const std::string& database) { return database + "-wal"; }

/// Has an empty file written in place where its file system would not do so (btrfs).
void overwrite_in_place(int fd);

/// Makes the log when it is missing and allocates its first `size` bytes without making it longer.
/// False when there is no room, or the log cannot be made.
bool allocate_log(const std::string& log, int64_t size);

/// Overwrites the header of a log whose every page is in the database: SQLite takes it for empty
/// and it keeps its blocks. Nobody may have the database open.
void empty_log(const std::string& log);
/// Whether there is no log or an empty one.
bool log_is_empty(const std::string& log);

}  // namespace berth::sqlite
