#include "store.h"

#include <fcntl.h>

#include <algorithm>
#include <charconv>

#include "ingest.h"
#include "timestamp.h"

namespace berth::content {
namespace {

constexpr DigestAlgorithm kAlgorithms[] = {DigestAlgorithm::kSha256, DigestAlgorithm::kSha384,
                                           DigestAlgorithm::kSha512};
constexpr size_t kLongestRef = 64 << 10;

// containerd names an ingest's directory by the digest of its ref, so that any ref is a safe and
// short name.
std::string ingest_name(std::string_view ref) { return std::string(digest_of(ref).hex()); }

// Names are shown in messages; they come from clients and may be long.
std::string shown(std::string_view ref) {
  constexpr size_t kShown = 256;
  return "\"" + std::string(ref.substr(0, kShown)) + (ref.size() > kShown ? "…" : "") + "\"";
}

Result<Directory> open_made(const Directory& parent, const std::string& name) {
  BERTH_ASSIGN_OR_RETURN(const bool made, parent.make(name));
  if (made)
    BERTH_RETURN_IF_ERROR(parent.sync());  // a blob is only as durable as the directories above it
  return parent.open_below(name);
}

Result<timespec> read_timestamp(const Directory& directory, const std::string& name) {
  BERTH_ASSIGN_OR_RETURN(const std::string text, directory.read(name));
  const auto time = parse_timestamp(text);
  if (!time)
    return data_loss("read " + directory.path_of(name) + ": \"" + text.substr(0, 64) +
                     "\" is not a time");
  return *time;
}

int64_t read_total(const Directory& directory) {
  const Result<std::string> text = directory.read("total");
  if (!text.ok()) return 0;
  int64_t total = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), total);
  return error == std::errc() && total > 0 ? total : 0;
}

bool is_blob_file(const struct stat& status) { return S_ISREG(status.st_mode); }

}  // namespace

Store::Store(Directory root, Directory blobs, Directory ingests, Log log)
    : root_(std::move(root)),
      blobs_(std::move(blobs)),
      ingests_(std::move(ingests)),
      log_(std::move(log)),
      // One core is the writer's own.
      lanes_(std::clamp(std::thread::hardware_concurrency() / 2, 1U, 8U)) {}

Result<std::unique_ptr<Store>> Store::open(const std::string& root, Log log) {
  BERTH_ASSIGN_OR_RETURN(Directory directory, Directory::open(root));
  BERTH_ASSIGN_OR_RETURN(Directory blobs, open_made(directory, "blobs"));
  BERTH_ASSIGN_OR_RETURN(Directory ingests, open_made(directory, "ingest"));
  std::unique_ptr<Store> store(new Store(std::move(directory), std::move(blobs), std::move(ingests),
                                         std::move(log)));  // private constructor
  BERTH_RETURN_IF_ERROR(store->recover());
  return store;
}

// Removes ingests that cannot be resumed, nor aborted by anyone who does not know their directory:
// power loss may leave one without its ref, or with an empty one.
Status Store::recover() {
  BERTH_ASSIGN_OR_RETURN(const std::vector<std::string> names, ingests_.names());
  for (const std::string& name : names) {
    if (name.size() != hex_length(DigestAlgorithm::kSha256)) {
      log_("left alone, since it is no ingest of ours: " + ingests_.path_of(name));
      continue;
    }
    std::string reason;
    Result<Directory> ingest = ingests_.open_below(name);
    if (!ingest.ok()) {
      log_("left alone: " + ingest.status().message());
      continue;
    }
    const Result<IngestStatus> status = status_of(*ingest);
    if (status.ok() && ingest_name(status->ref) == name) continue;
    reason = status.ok() ? "its ref belongs to another directory" : status.status().message();
    const Status removed = ingests_.remove_tree(name);
    log_((removed.ok() ? "removed an ingest that was not finished: "
                       : "could not remove a damaged ingest: ") +
         ingests_.path_of(name) + ": " + (removed.ok() ? reason : removed.message()));
  }
  return {};
}

Result<Directory> Store::blob_directory(DigestAlgorithm algorithm, bool make) const {
  const std::string name(algorithm_name(algorithm));
  return make ? open_made(blobs_, name) : blobs_.open_below(name);
}

Result<BlobInfo> Store::info(const Digest& digest) const {
  const auto missing = [&] { return not_found("content " + digest.string() + ": not found"); };
  const Result<Directory> directory = blob_directory(digest.algorithm(), /*make=*/false);
  if (!directory.ok()) {
    return directory.status().code() == Code::kNotFound ? missing() : directory.status();
  }
  const Result<struct stat> status = directory->stat(std::string(digest.hex()));
  if (!status.ok() && status.status().code() != Code::kNotFound) return status.status();
  if (!status.ok() || !is_blob_file(*status)) return missing();
  return BlobInfo{digest, status->st_size, status->st_mtim, status->st_atim};
}

Result<Blob> Store::open_blob(const Digest& digest) const {
  const auto missing = [&] { return not_found("content " + digest.string() + ": not found"); };
  const Result<Directory> directory = blob_directory(digest.algorithm(), /*make=*/false);
  if (!directory.ok())
    return directory.status().code() == Code::kNotFound ? missing() : directory.status();
  // O_NONBLOCK: should someone have put a fifo there, opening it must not wait.
  Result<UniqueFd> fd = directory->open_file(std::string(digest.hex()), O_RDONLY | O_NONBLOCK);
  if (!fd.ok()) return fd.status().code() == Code::kNotFound ? missing() : fd.status();
  struct stat status {};
  if (::fstat(fd->get(), &status) != 0)
    return errno_status(errno, "stat content " + digest.string());
  if (!is_blob_file(status)) return missing();
  return Blob{std::move(*fd), status.st_size};
}

Status Store::remove(const Digest& digest) {
  const auto missing = [&] { return not_found("content " + digest.string() + ": not found"); };
  const Result<Directory> directory = blob_directory(digest.algorithm(), /*make=*/false);
  if (!directory.ok())
    return directory.status().code() == Code::kNotFound ? missing() : directory.status();
  const Status removed = directory->unlink(std::string(digest.hex()));
  return removed.code() == Code::kNotFound ? missing() : removed;
}

Status Store::walk(const std::function<Status(const BlobInfo&)>& visit) const {
  for (const DigestAlgorithm algorithm : kAlgorithms) {
    const Result<Directory> directory = blob_directory(algorithm, /*make=*/false);
    if (directory.status().code() == Code::kNotFound) continue;
    if (!directory.ok()) return directory.status();
    BERTH_ASSIGN_OR_RETURN(std::vector<std::string> names, directory->names());
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      const Result<Digest> digest =
          Digest::parse(std::string(algorithm_name(algorithm)) + ":" + name);
      const Result<struct stat> status = directory->stat(name);
      if (!digest.ok() || (status.ok() && !is_blob_file(*status))) {
        log_("not a blob, left alone: " + directory->path_of(name));
        continue;
      }
      if (status.status().code() == Code::kNotFound) continue;  // deleted since
      if (!status.ok()) return status.status();
      BERTH_RETURN_IF_ERROR(
          visit(BlobInfo{*digest, status->st_size, status->st_mtim, status->st_atim}));
    }
  }
  return {};
}

Result<IngestStatus> Store::status_of(const Directory& ingest) const {
  IngestStatus status;
  BERTH_ASSIGN_OR_RETURN(const struct stat data, ingest.stat("data"));
  if (!S_ISREG(data.st_mode)) return data_loss(ingest.path_of("data") + " is not a regular file");
  status.offset = data.st_size;
  BERTH_ASSIGN_OR_RETURN(status.ref, ingest.read("ref", kLongestRef));
  if (status.ref.empty()) return data_loss(ingest.path_of("ref") + " is empty");
  BERTH_ASSIGN_OR_RETURN(status.started, read_timestamp(ingest, "startedat"));
  BERTH_ASSIGN_OR_RETURN(status.updated, read_timestamp(ingest, "updatedat"));
  // The file is written when a writer ends, not at every write.
  if (earlier(status.updated, data.st_mtim)) status.updated = data.st_mtim;
  status.total = read_total(ingest);
  return status;
}

Result<IngestStatus> Store::status(std::string_view ref) const {
  const Result<Directory> directory = ingests_.open_below(ingest_name(ref));
  if (directory.ok()) {
    Result<IngestStatus> status = status_of(*directory);
    if (status.status().code() != Code::kNotFound) return status;
  } else if (directory.status().code() != Code::kNotFound) {
    return directory.status();
  }
  return not_found("ingest ref " + shown(ref) + ": not found");
}

Result<std::vector<IngestStatus>> Store::statuses() const {
  BERTH_ASSIGN_OR_RETURN(const std::vector<std::string> names, ingests_.names());
  std::vector<IngestStatus> statuses;
  for (const std::string& name : names) {
    const Result<Directory> directory = ingests_.open_below(name);
    if (!directory.ok()) continue;  // committed or aborted since, or no ingest
    Result<IngestStatus> status = status_of(*directory);
    if (status.ok()) {
      statuses.push_back(std::move(*status));
    } else if (status.status().code() != Code::kNotFound) {
      log_("damaged ingest: " + status.status().message());
    }
  }
  std::sort(statuses.begin(), statuses.end(),
            [](const IngestStatus& a, const IngestStatus& b) { return a.ref < b.ref; });
  return statuses;
}

Status Store::abort(std::string_view ref) {
  const Status removed = ingests_.remove_tree(ingest_name(ref));
  if (removed.code() == Code::kNotFound)
    return not_found("ingest ref " + shown(ref) + ": not found");
  return removed;
}

Result<Store::RefLock> Store::RefLock::take(Store& store, const std::string& ref) {
  const std::lock_guard lock(store.mutex_);
  const auto [entry, taken] = store.locked_.emplace(ref, wall_clock());
  if (!taken) {
    return unavailable("ref " + shown(ref) + " is locked by another writer since " +
                       format_timestamp(entry->second) + ": wait for it to end: unavailable");
  }
  return RefLock(store, ref);
}

void Store::RefLock::release() {
  if (store_ == nullptr || !std::exchange(held_, false)) return;
  const std::lock_guard lock(store_->mutex_);
  store_->locked_.erase(ref_);
}

Result<std::unique_ptr<Ingest>> Store::begin(const std::string& ref, int64_t total,
                                             const std::optional<Digest>& expected) {
  if (ref.empty()) return invalid_argument("begin an ingest: the ref must not be empty");
  if (ref.size() > kLongestRef) {
    return invalid_argument("begin ingest " + shown(ref) + ": a ref has at most " +
                            std::to_string(kLongestRef) + " bytes");
  }
  BERTH_ASSIGN_OR_RETURN(RefLock lock, RefLock::take(*this, ref));
  if (expected) {
    const Result<BlobInfo> known = info(*expected);
    if (known.ok()) return already_exists("content " + expected->string() + ": already exists");
    if (known.status().code() != Code::kNotFound) return known.status();
  }
  return begin_locked(std::move(lock), total,
                      expected ? expected->algorithm() : DigestAlgorithm::kSha256);
}

Result<std::unique_ptr<Ingest>> Store::begin_locked(RefLock lock, int64_t total,
                                                    DigestAlgorithm algorithm) {
  const std::string name = ingest_name(lock.ref());
  BERTH_ASSIGN_OR_RETURN(const bool made, ingests_.make(name));
  Cleanup undo([&] {
    if (made) (void)ingests_.remove_tree(name);
  });
  BERTH_ASSIGN_OR_RETURN(Directory directory, ingests_.open_below(name));
  IngestStatus status;
  bool resumed = false;
  if (!made) {
    Result<IngestStatus> found = status_of(directory);
    const bool other_total = found.ok() && total > 0 && found->total > 0 && total != found->total;
    resumed = found.ok() && found->ref == lock.ref() && !other_total;
    if (resumed) status = std::move(*found);
  }
  if (!resumed) {
    status.started = status.updated = wall_clock();
    const std::string now = format_timestamp(status.started);
    BERTH_RETURN_IF_ERROR(directory.write("ref", lock.ref()));
    BERTH_RETURN_IF_ERROR(directory.write("startedat", now));
    BERTH_RETURN_IF_ERROR(directory.write("updatedat", now));
    if (total > 0) {
      BERTH_RETURN_IF_ERROR(directory.write("total", std::to_string(total)));
    } else if (!made) {
      const Status removed = directory.unlink("total");
      if (!removed.ok() && removed.code() != Code::kNotFound) return removed;
    }
  }
  BERTH_ASSIGN_OR_RETURN(
      UniqueFd data, directory.open_file("data", O_RDWR | O_CREAT | (resumed ? 0 : O_TRUNC), 0600));
  std::unique_ptr<Ingest> ingest(
      new Ingest(std::move(lock), std::move(directory), std::move(data), algorithm));
  ingest->started_ = status.started;
  ingest->updated_ = status.updated;
  if (status.offset > 0) BERTH_RETURN_IF_ERROR(ingest->hash_file(algorithm));
  undo.dismiss();
  return ingest;
}

}  // namespace berth::content
