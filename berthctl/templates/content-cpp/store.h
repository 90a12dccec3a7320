// Blobs in files: <root>/blobs/ALGORITHM-HEX the bytes, <root>/info/ALGORITHM-HEX what is known of them (a message Info), and
// <root>/ingests/HEX-OF-REF/{data,status} what is on its way in.
#pragma once

#include <berth/digest.h>
#include <berth/fd.h>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "containerd/services/content/v1/content.pb.h"

namespace @ident@_plugin {

namespace api = containerd::services::content::v1;

class Ingest;

/// Any thread.
class Store {
 public:
  static berth::Result<std::unique_ptr<Store>> open(const std::string& root);

  berth::Result<api::Info> info(const berth::Digest& digest) const;
  /// Makes the change to what is known of a blob, durably.
  berth::Result<api::Info> update(const berth::Digest& digest, const std::function<void(api::Info*)>& change);
  berth::Result<berth::UniqueFd> open_blob(const berth::Digest& digest) const;
  berth::Status remove(const berth::Digest& digest);
  std::vector<api::Info> blobs() const;

  /// The one writer of a ref, with what an earlier one left: UNAVAILABLE while there is another.
  berth::Result<std::unique_ptr<Ingest>> begin(const std::string& ref, int64_t total);
  berth::Result<api::Status> status(const std::string& ref) const;
  std::vector<api::Status> statuses() const;
  berth::Status abort(const std::string& ref);

 private:
  friend class Ingest;
  explicit Store(std::string root) : root_(std::move(root)) {}
  std::string blob_path(const berth::Digest& digest) const { return root_ + "/blobs/" + name_of(digest); }
  std::string info_path(const berth::Digest& digest) const { return root_ + "/info/" + name_of(digest); }
  static std::string name_of(const berth::Digest& digest);
  std::string ingest_path(const std::string& ref) const;
  berth::Result<api::Status> read_status(const std::string& folder) const;

  const std::string root_;
  mutable std::mutex mutex_;  // guards what follows, and changes of info files
  std::set<std::string> written_;  // refs that have a writer
};

/// One thread at a time. What was written stays for the next writer, unless it is committed.
class Ingest {
 public:
  ~Ingest();
  Ingest(const Ingest&) = delete;
  Ingest& operator=(const Ingest&) = delete;

  const api::Status& status() const { return status_; }
  berth::Digest digest() const { return digester_.digest(); }
  berth::Status write(std::string_view bytes);
  berth::Status truncate();
  /// Durable when OK. FAILED_PRECONDITION: other bytes are expected, and what is there stays.
  /// ALREADY_EXISTS: the ingest goes.
  berth::Status commit(int64_t total, const std::optional<berth::Digest>& expected, const api::Info& labels);

 private:
  friend class Store;
  Ingest(Store& store, api::Status status) : store_(store), status_(std::move(status)) {}
  berth::Result<bool> publish(const berth::Digest& digest, const api::Info& info);
  berth::Status hash_file(berth::DigestAlgorithm algorithm);
  void let_go();
  void discard();

  Store& store_;
  api::Status status_;
  std::string folder_;
  berth::UniqueFd data_;
  berth::Digester digester_;
  bool holds_ = true;
};

}  // namespace @ident@_plugin
