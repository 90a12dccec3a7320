// A directory of blobs named by their digests, and of ingests on their way to become blobs:
// containerd's layout (docs/formats/content.md). It knows neither namespaces nor labels.
#pragma once

#include <berth/digest.h>
#include <time.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "directory.h"
#include "hash_lanes.h"

namespace berth::content {

struct BlobInfo {
  Digest digest;
  int64_t size = 0;    // bytes
  timespec created{};  // when it was committed
  timespec updated{};
};

struct IngestStatus {
  std::string ref;
  int64_t offset = 0;  // bytes that are there
  int64_t total = 0;   // bytes expected, 0 when unknown
  timespec started{};
  timespec updated{};
};

struct Blob {
  UniqueFd fd;  // read-only
  int64_t size = 0;
};

class Ingest;

/// Any thread. The directory belongs to one store at a time.
class Store {
 public:
  /// Receives one line about something damaged or removed.
  using Log = std::function<void(const std::string& line)>;

  /// Opens or makes the directories below `root`, and removes ingests that nobody can go on with.
  static Result<std::unique_ptr<Store>> open(const std::string& root, Log log);

  /// NOT_FOUND when there is no such blob.
  Result<BlobInfo> info(const Digest& digest) const;
  /// For reading; a blob that is deleted meanwhile stays readable through it.
  Result<Blob> open_blob(const Digest& digest) const;
  Status remove(const Digest& digest);
  /// All blobs, ordered by digest, until `visit` fails. Blobs may come and go meanwhile.
  Status walk(const std::function<Status(const BlobInfo&)>& visit) const;

  Result<IngestStatus> status(std::string_view ref) const;
  Result<std::vector<IngestStatus>> statuses() const;
  /// Removes an ingest. Its writer, if there is one, finds out at its next step. NOT_FOUND when
  /// there is none.
  Status abort(std::string_view ref);

  /// Begins or resumes the ingest `ref` and locks it for the life of the result. total: 0 when
  /// unknown. INVALID_ARGUMENT for an empty ref, UNAVAILABLE when it is being written,
  /// ALREADY_EXISTS when `expected` is a blob already.
  Result<std::unique_ptr<Ingest>> begin(const std::string& ref, int64_t total,
                                        const std::optional<Digest>& expected);

 private:
  friend class Ingest;
  class RefLock;

  Store(Directory root, Directory blobs, Directory ingests, Log log);
  Status recover();
  Result<IngestStatus> status_of(const Directory& ingest) const;
  Result<std::unique_ptr<Ingest>> begin_locked(RefLock lock, int64_t total,
                                               DigestAlgorithm algorithm);
  /// The directory of an algorithm's blobs; `make` makes it, else NOT_FOUND when absent.
  Result<Directory> blob_directory(DigestAlgorithm algorithm, bool make) const;

  const Directory root_;
  const Directory blobs_;
  const Directory ingests_;
  const Log log_;
  HashLanes lanes_;
  std::mutex mutex_;
  std::map<std::string, timespec, std::less<>>
      locked_;  // guarded by mutex_; refs being written, since when
};

/// The exclusive right to write one ref.
class Store::RefLock {
 public:
  /// UNAVAILABLE when another holds it.
  static Result<RefLock> take(Store& store, const std::string& ref);
  RefLock(RefLock&& other) noexcept
      : store_(std::exchange(other.store_, nullptr)), ref_(std::move(other.ref_)) {}
  RefLock& operator=(RefLock&&) = delete;
  ~RefLock() { release(); }
  /// Lets the next writer in before this one is destroyed. Once.
  void release();
  const std::string& ref() const { return ref_; }
  Store& store() const { return *store_; }

 private:
  RefLock(Store& store, std::string ref) : store_(&store), ref_(std::move(ref)) {}
  Store* store_;
  std::string ref_;
  bool held_ = true;
};

}  // namespace berth::content
