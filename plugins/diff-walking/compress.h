// Compresses a stream on its way to where it is stored.
#pragma once

#include <berth/digest.h>
#include <berth/status.h>

#include <memory>

#include "byte_source.h"
#include "decompress.h"

namespace berth::diff_walking {

/// One thread at a time.
class Compressor : public ByteSink {
 public:
  /// Writes what is still held back and the trailer. Once, after the last write.
  virtual Status finish() = 0;
};

/// A compressor in front of `sink`, which it borrows. The same input gives the same bytes (no
/// times, no names) with the same library on the same kind of processor; the digest of the plain
/// stream is the same everywhere.
std::unique_ptr<Compressor> make_compressor(Compression compression, ByteSink* sink);

/// Passes bytes on, and knows how many and with which digest.
class DigestingSink final : public ByteSink {
 public:
  /// Borrows `sink`.
  explicit DigestingSink(ByteSink* sink) : sink_(sink) {}
  Status write(std::span<const std::byte> bytes) override {
    digester_.update(bytes);
    size_ += bytes.size();
    return sink_->write(bytes);
  }
  std::string digest() const { return digester_.digest().string(); }
  uint64_t size() const { return size_; }

 private:
  ByteSink* sink_;
  Digester digester_;
  uint64_t size_ = 0;
};

}  // namespace berth::diff_walking
