// What both daemons are given: blobs, layers and an image, made once.
#pragma once

#include <string>

#include "client.h"

namespace berth::bench {

/// Incompressible bytes of any length without holding them in memory: a random megabyte-sized
/// piece, different at each offset.
class RandomBlob {
 public:
  RandomBlob(size_t size, uint64_t seed);
  const std::string& digest() const { return digest_; }
  size_t size() const { return size_; }
  /// `offset` is a multiple of Client::kPieceBytes, `size` at most that. Valid until the next call.
  std::string_view piece(size_t offset, size_t size);

 private:
  size_t size_;
  std::string pool_;
  std::string digest_;
};

/// Files of a layer and of an image of that layer alone.
struct LayerFiles {
  std::string blob;     // path of the gzip file
  std::string digest;   // of the gzip file
  std::string diff_id;  // of the tar archive in it
  size_t size = 0;      // of the gzip file
  size_t uncompressed = 0;
  std::string archive;  // path of an OCI image archive, for `ctr images import`
};

/// Makes a layer with a mix of files as in a distribution's image: sizes from a few bytes to
/// megabytes, text, program code and data that is compressed already, together to about 40 % of
/// their size by `gzip -6`. It has at least `compressed_bytes` as a gzip file. Throws
/// std::runtime_error when it cannot be written.
LayerFiles make_layer(const std::string& directory, size_t compressed_bytes);

/// The same layer for all rows of a run: made at the first call.
const LayerFiles& layer_for(const std::string& directory, size_t compressed_bytes);

/// A tar layer with busybox from `program`, and the folders that a container needs.
std::string busybox_layer(const std::string& program);

/// Path of an OCI image archive with that layer, of this name; made at the first call.
std::string busybox_archive(const std::string& directory, const std::string& name);

/// "sha256:…"
std::string digest_of(std::string_view bytes);

}  // namespace berth::bench
