// SQLite's own access to files, changed in two points.
#pragma once

namespace berth::sqlite {

/// The name to open a database with. Its file never becomes shorter, so that what it grew by in
/// advance stays, and the index of its log has no file (memory_index.h). Any thread.
const char* vfs_name();

}  // namespace berth::sqlite
