#include "layer_stream.h"

#include <algorithm>

#include "decompress.h"

namespace berth::diff_walking {
namespace {

// Small enough for all stages to find a buffer in the processor's cache, large enough for few
// switches of threads.
constexpr size_t kBufferSize = 256 << 10;
constexpr size_t kBuffers = 16;

}  // namespace

/// Digests the blob while it is read, and stops when it is told to.
class LayerStream::HashingSource final : public ByteSource {
 public:
  HashingSource(ByteSource* source, DigestAlgorithm algorithm)
      : source_(source), digester_(algorithm) {}

  Result<std::span<const std::byte>> next() override {
    BERTH_ASSIGN_OR_RETURN(const auto piece, source_->next());
    digester_.update(piece);
    size_ += piece.size();
    return piece;
  }
  std::string digest() const { return digester_.digest().string(); }
  uint64_t size() const { return size_; }

 private:
  ByteSource* source_;
  Digester digester_;
  uint64_t size_ = 0;
};

LayerStream::LayerStream(ByteSource* blob, DigestAlgorithm blob_algorithm)
    : blob_(std::make_unique<HashingSource>(blob, blob_algorithm)), ring_(kBuffers) {
  for (Buffer& buffer : ring_)
    buffer.bytes = std::make_unique_for_overwrite<std::byte[]>(kBufferSize);
  hasher_ = std::thread([this] { hash(); });
  producer_ = std::thread([this] { produce(); });
}

LayerStream::~LayerStream() {
  {
    const std::lock_guard lock(mutex_);
    stop_inflating_ = true;
    stop_reading_ = true;
  }
  freed_.notify_all();
  join();
}

void LayerStream::join() {
  if (producer_.joinable()) producer_.join();
  if (hasher_.joinable()) hasher_.join();
}

void LayerStream::produce() {
  Status status = inflate_all();
  {
    const std::lock_guard lock(mutex_);
    status_ = status;
    ended_ = true;
  }
  filled_.notify_all();
  // Whatever went wrong, whether the blob is what its digest says is worth knowing.
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (stop_reading_) return;
    }
    const auto piece = blob_->next();
    if (!piece.ok()) return;
    if (piece->empty()) break;
  }
  blob_complete_ = true;
}

Status LayerStream::inflate_all() {
  BERTH_ASSIGN_OR_RETURN(const std::unique_ptr<Decompressor> decompressor,
                         make_decompressor(blob_.get()));
  while (true) {
    Buffer* buffer = nullptr;
    {
      std::unique_lock lock(mutex_);
      freed_.wait(lock, [this] {
        return stop_inflating_ || produced_ - std::min(hashed_, extracted_) < ring_.size();
      });
      if (stop_inflating_) return cancelled("the layer is not read any further");
      buffer = &ring_[produced_ % ring_.size()];
    }
    BERTH_ASSIGN_OR_RETURN(buffer->used, decompressor->read({buffer->bytes.get(), kBufferSize}));
    if (buffer->used == 0) return {};
    {
      const std::lock_guard lock(mutex_);
      ++produced_;
    }
    filled_.notify_all();
    if (buffer->used < kBufferSize) return {};
  }
}

/// Waits for the buffer after those that `consumer` has let go of; empty at the end.
Result<std::span<const std::byte>> LayerStream::take(uint64_t* consumer) {
  std::unique_lock lock(mutex_);
  filled_.wait(lock, [&] { return *consumer < produced_ || ended_; });
  if (*consumer == produced_) {
    if (!status_.ok()) return status_;
    return std::span<const std::byte>();
  }
  const Buffer& buffer = ring_[*consumer % ring_.size()];
  return std::span<const std::byte>(buffer.bytes.get(), buffer.used);
}

void LayerStream::hash() {
  while (true) {
    const auto piece = take(&hashed_);
    if (!piece.ok() || piece->empty()) return;
    layer_digester_.update(*piece);
    layer_size_ += piece->size();
    {
      const std::lock_guard lock(mutex_);
      ++hashed_;
    }
    freed_.notify_one();
  }
}

Result<std::span<const std::byte>> LayerStream::next() {
  if (holding_) {
    {
      const std::lock_guard lock(mutex_);
      ++extracted_;
    }
    freed_.notify_one();
    holding_ = false;
  }
  auto piece = take(&extracted_);
  holding_ = piece.ok() && !piece->empty();
  return piece;
}

Result<StreamSummary> LayerStream::finish() {
  while (true) {
    BERTH_ASSIGN_OR_RETURN(const auto piece, next());
    if (piece.empty()) break;
  }
  join();
  if (!blob_complete_) return internal_error("the end of the blob was not reached");
  return StreamSummary{layer_digester_.digest().string(), layer_size_, blob_->digest(),
                       blob_->size()};
}

std::optional<StreamSummary> LayerStream::drain() {
  {
    const std::lock_guard lock(mutex_);
    stop_inflating_ = true;
  }
  freed_.notify_all();
  join();
  if (!blob_complete_) return std::nullopt;
  return StreamSummary{{}, 0, blob_->digest(), blob_->size()};
}

}  // namespace berth::diff_walking
