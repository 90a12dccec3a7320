// The writer of one blob.
#pragma once

#include "store.h"

namespace berth::content {

/// Appends to one ingest and commits it. What was written stays for the next writer when this one
/// is destroyed without a commit. One thread at a time. After a failed write or commit only the
/// destructor is left.
class Ingest {
 public:
  ~Ingest();
  Ingest(const Ingest&) = delete;
  Ingest& operator=(const Ingest&) = delete;

  const std::string& ref() const { return lock_.ref(); }
  int64_t offset() const { return offset_; }
  const timespec& started() const { return started_; }
  const timespec& updated() const { return updated_; }
  /// Of the bytes up to offset().
  Digest digest() const { return digester_.digest(); }

  /// Appends. On failure (RESOURCE_EXHAUSTED when the disk is full) nothing of `bytes` stays in the
  /// file.
  Status write(std::string_view bytes);
  /// Forgets what was written.
  Status truncate();
  /// Makes the bytes a blob, durable when this returns OK. size: 0, or what must be there;
  /// expected: what the digest must be. FAILED_PRECONDITION for a mismatch (the ingest stays),
  /// ALREADY_EXISTS when the blob exists (it goes).
  Status commit(int64_t size, const std::optional<Digest>& expected);

 private:
  friend class Store;
  Ingest(Store::RefLock lock, Directory directory, UniqueFd data, DigestAlgorithm algorithm)
      : lock_(std::move(lock)),
        directory_(std::move(directory)),
        data_(std::move(data)),
        digester_(algorithm) {}

  Status usable() const;
  Status append(std::string_view bytes);
  Status hash_file(DigestAlgorithm algorithm);
  Status publish(const Digest& digest);
  Status give_way(const Digest& digest);
  void discard();
  std::string data_path() const { return directory_.path_of("data"); }

  Store::RefLock lock_;
  Directory directory_;
  UniqueFd data_;
  Digester digester_;
  int64_t offset_ = 0;
  int64_t writeback_begun_ = 0;  // bytes up to here have been handed to the disk
  timespec started_{};
  timespec updated_{};
  bool closed_ = false;  // committed, discarded or broken
  bool gone_ = false;    // the directory is no longer this ingest's
};

}  // namespace berth::content
