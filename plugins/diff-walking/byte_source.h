// Bytes in sequence, without a copy: what the stages of applying a layer hand to each other.
#pragma once

#include <berth/status.h>

#include <cstddef>
#include <span>

namespace berth::diff_walking {

/// A stream read in pieces. One thread at a time.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// The next piece, empty at the end of the stream. It is borrowed and valid until the next call.
  virtual Result<std::span<const std::byte>> next() = 0;
};

/// A stream written in pieces. One thread at a time.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  /// All of `bytes`, or an error after which the sink is of no more use.
  virtual Status write(std::span<const std::byte> bytes) = 0;
};

/// A stream that is in memory already, for tests and small inputs. Borrows `bytes`.
class MemorySource final : public ByteSource {
 public:
  /// Gives pieces of at most `piece` bytes.
  explicit MemorySource(std::span<const std::byte> bytes, size_t piece = SIZE_MAX)
      : rest_(bytes), piece_(piece) {}
  Result<std::span<const std::byte>> next() override {
    const auto out = rest_.first(rest_.size() < piece_ ? rest_.size() : piece_);
    rest_ = rest_.subspan(out.size());
    return out;
  }

 private:
  std::span<const std::byte> rest_;
  size_t piece_;
};

}  // namespace berth::diff_walking
