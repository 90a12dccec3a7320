// Writes tar archives the same way every time: ustar headers, an extended header only where ustar
// cannot say it, no names of users, no padding of blocks. The layout is the one that Go's
// archive/tar gives for its format PAX, which most layers in registries are made with.
#pragma once

#include <berth/status.h>

#include "byte_source.h"
#include "tar_format.h"

namespace berth::diff_walking {

/// One thread at a time. After an error only destruction is allowed.
class TarWriter {
 public:
  /// Borrows `sink`.
  explicit TarWriter(ByteSink* sink) : sink_(sink) {}

  /// Begins an entry. Names of directories end in "/". Access times and `sparse` are not written;
  /// mtime is cut to seconds. The content of the entry before must be complete.
  Status add(const TarEntry& entry);
  /// A piece of the content of the current entry, entry.size bytes in all.
  Status write(std::span<const std::byte> bytes);
  /// Ends the archive.
  Status finish();

 private:
  Status write_extended(const TarEntry& entry, const std::string& records);
  Status pad(uint64_t size);

  ByteSink* sink_;
  uint64_t remaining_ = 0;
  uint64_t size_ = 0;
};

}  // namespace berth::diff_walking
