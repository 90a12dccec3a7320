// Turns a compressed stream into a plain one.
#pragma once

#include <berth/status.h>

#include <memory>
#include <string_view>

#include "byte_source.h"

namespace berth::diff_walking {

enum class Compression { kNone, kGzip, kZstd };
std::string_view compression_name(Compression compression);

/// What the first bytes of a stream say; ten are enough. Media types are not asked: old images have
/// wrong ones, and containerd looks at the bytes as well.
Compression detect_compression(std::span<const std::byte> first);

/// One thread at a time. After an error only destruction is allowed.
class Decompressor {
 public:
  virtual ~Decompressor() = default;
  /// Fills `out`; less than its size only at the end of the stream. INVALID_ARGUMENT for corrupt
  /// data, OUT_OF_RANGE for a stream that ends too early, otherwise the error of the source.
  virtual Result<size_t> read(std::span<std::byte> out) = 0;
  virtual Compression compression() const = 0;
};

/// Looks at the first bytes of `source`, which it borrows, and reads on from there.
Result<std::unique_ptr<Decompressor>> make_decompressor(ByteSource* source);

}  // namespace berth::diff_walking
