// A strict streaming reader of tar archives as layers have them: v7, ustar, GNU and pax.
//
// Layers come from outside. Whatever does not follow the format is refused, rather than guessed at:
// two readers that guess differently see two different trees. Sizes of headers and names are
// bounded before memory is taken.
#pragma once

#include <berth/status.h>

#include "byte_source.h"
#include "pax.h"
#include "tar_format.h"

namespace berth::diff_walking {

/// One thread at a time. After an error only destruction is allowed.
class TarReader {
 public:
  /// Borrows `source`.
  explicit TarReader(ByteSource* source) : source_(source) {}

  /// The next entry; false at the end of the archive. What is left of the entry before is skipped.
  /// INVALID_ARGUMENT for a malformed archive, OUT_OF_RANGE for one that ends too early, otherwise
  /// the error of the source.
  Result<bool> next(TarEntry* entry);

  /// A piece of the content of the current entry and where in the file it belongs.
  struct Chunk {
    uint64_t offset = 0;
    std::span<const std::byte> bytes;
  };
  /// The next piece; empty bytes at the end of the content. Borrowed from the source: valid until
  /// the next call. Pieces come in ascending order; what lies between them is a hole.
  Result<Chunk> read();

 private:
  enum class Ends { kAllowed, kTruncated };

  /// Reads headers until one that is an entry. False at the end of the archive.
  Result<bool> read_headers(TarHeaderBlock* header, PaxRecords* records, std::string* long_name,
                            std::string* long_link);
  Result<std::string> read_extended(const TarHeaderBlock& header, uint64_t limit);
  Result<bool> read_block(void* block, Ends ends);
  Result<size_t> read_some(void* out, size_t size);
  Status read_exactly(void* out, size_t size, std::string_view what);
  Status skip(uint64_t size);
  Status refill();

  Status fill_entry(const TarHeaderBlock& header, const PaxRecords& records, TarEntry* entry);
  Status begin_content(const TarHeaderBlock& header, const PaxRecords& records, TarEntry* entry);
  Status read_old_sparse_map(const TarHeaderBlock& header, TarEntry* entry);
  Status read_sparse_map_before_data();
  Status check_extents(const TarEntry& entry) const;

  Status error(std::string message) const;

  ByteSource* source_;
  std::span<const std::byte> window_;
  bool source_ended_ = false;
  bool archive_ended_ = false;
  uint64_t position_ = 0;

  std::string name_;  // of the current entry, for messages
  uint64_t remaining_ = 0;
  uint64_t padding_ = 0;
  std::vector<SparseExtent> extents_;
  size_t extent_ = 0;
  uint64_t extent_done_ = 0;
  PaxRecords global_;
};

}  // namespace berth::diff_walking
