// The assembly line of an unpack: read and inflate, hash, write, each on its own thread.
//
//   blob ── producer thread: read, hash the blob, inflate ──► ring of buffers ──► hash thread:
//   digest of the layer
//                                                                      └───────► the caller's
//                                                                      thread: tar, files
//
// The ring bounds memory (4 MiB) and lets each stage work ahead of the slower ones. The plain
// stream is never copied.
#pragma once

#include <berth/digest.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "byte_source.h"

namespace berth::diff_walking {

/// What was read, compressed and plain.
struct StreamSummary {
  std::string layer_digest;
  uint64_t layer_size = 0;
  std::string blob_digest;
  uint64_t blob_size = 0;
};

class LayerStream final : public ByteSource {
 public:
  /// Starts to read `blob`, which must outlive this object and is used on a thread of this object
  /// until finish(), drain() or destruction.
  explicit LayerStream(ByteSource* blob, DigestAlgorithm blob_algorithm = DigestAlgorithm::kSha256);
  ~LayerStream() override;

  /// The next piece of the plain stream, or the error that ended it. The caller's thread.
  Result<std::span<const std::byte>> next() override;

  /// Reads what is left, after the end of the archive, and waits for the digests.
  Result<StreamSummary> finish();

  /// After an error further down: reads the blob to its end without inflating it, so that a damaged
  /// blob can be told from a bad layer. Only the blob's digest and size are filled in. Nothing when
  /// the blob cannot be read.
  std::optional<StreamSummary> drain();

 private:
  struct Buffer {
    std::unique_ptr<std::byte[]> bytes;
    size_t used = 0;
  };
  class HashingSource;

  void produce();
  void hash();
  void join();
  Status inflate_all();
  Result<std::span<const std::byte>> take(uint64_t* consumer);

  std::unique_ptr<HashingSource> blob_;
  std::vector<Buffer> ring_;

  std::mutex mutex_;
  std::condition_variable filled_;
  std::condition_variable freed_;
  // Guarded by mutex_: how many buffers were filled, and how many each consumer has let go of.
  uint64_t produced_ = 0;
  uint64_t hashed_ = 0;
  uint64_t extracted_ = 0;
  bool ended_ = false;
  bool stop_inflating_ = false;
  bool stop_reading_ = false;
  Status status_;

  bool holding_ = false;  // the caller's thread has a buffer
  Digester layer_digester_;
  uint64_t layer_size_ = 0;
  bool blob_complete_ = false;  // written by the producer, read after join()

  std::thread producer_;
  std::thread hasher_;
};

}  // namespace berth::diff_walking
