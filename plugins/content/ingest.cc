#include "ingest.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include "timestamp.h"

namespace berth::content {
namespace {

// The disk begins to write when this much has come, so that the sync of a commit finds most of it
// written.
constexpr int64_t kWritebackStep = 16 << 20;
constexpr size_t kReadStep = 1 << 20;
constexpr mode_t kBlobMode = 0444;

}  // namespace

Ingest::~Ingest() {
  if (gone_) return;
  // Best effort: without it a resumed ingest shows an older time.
  (void)directory_.write("updatedat", format_timestamp(updated_));
}

Status Ingest::usable() const {
  if (!closed_) return {};
  return failed_precondition("write to ingest \"" + ref() +
                             "\": this writer is closed, begin a new one");
}

Status Ingest::write(std::string_view bytes) {
  BERTH_RETURN_IF_ERROR(usable());
  HashLanes::Piece piece(lock_.store().lanes_, digester_, bytes);
  const Status written = append(bytes);
  piece.finish();
  if (!written.ok()) {
    // Hash and file no longer agree; whoever resumes hashes what is in the file.
    closed_ = true;
    if (::ftruncate(data_.get(), offset_) != 0) discard();
    return written;
  }
  offset_ += static_cast<int64_t>(bytes.size());
  updated_ = wall_clock();
  if (offset_ - writeback_begun_ >= kWritebackStep) {
    // Advice only; what goes wrong here shows when the file is synced.
    (void)::sync_file_range(data_.get(), writeback_begun_, offset_ - writeback_begun_,
                            SYNC_FILE_RANGE_WRITE);
    writeback_begun_ = offset_;
  }
  return {};
}

Status Ingest::append(std::string_view bytes) {
  int64_t position = offset_;
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(data_.get(), bytes.data(), bytes.size(), position);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      return errno_status(errno, "write " + data_path() + " (ingest \"" + ref() + "\") at offset " +
                                     std::to_string(position));
    }
    bytes.remove_prefix(static_cast<size_t>(count));
    position += count;
  }
  return {};
}

Status Ingest::truncate() {
  BERTH_RETURN_IF_ERROR(usable());
  if (::ftruncate(data_.get(), 0) != 0) {
    closed_ = true;
    return errno_status(errno, "truncate " + data_path());
  }
  digester_.reset();
  offset_ = 0;
  writeback_begun_ = 0;
  return {};
}

// Hashes the file from its begin; offset() is its size afterwards.
Status Ingest::hash_file(DigestAlgorithm algorithm) {
  digester_ = Digester(algorithm);
  offset_ = 0;
  const auto buffer = std::make_unique_for_overwrite<char[]>(kReadStep);
  while (true) {
    const ssize_t count = ::pread(data_.get(), buffer.get(), kReadStep, offset_);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_status(errno, "read " + data_path());
    if (count == 0) break;
    digester_.update(std::string_view(buffer.get(), static_cast<size_t>(count)));
    offset_ += count;
  }
  writeback_begun_ = offset_;
  return {};
}

Status Ingest::commit(int64_t size, const std::optional<Digest>& expected) {
  BERTH_RETURN_IF_ERROR(usable());
  closed_ = true;
  if (size > 0 && size != offset_) {
    return failed_precondition("commit ingest \"" + ref() + "\": unexpected commit size " +
                               std::to_string(offset_) + ", expected " + std::to_string(size) +
                               ": failed precondition");
  }
  if (expected && expected->algorithm() != digester_.algorithm()) {
    BERTH_RETURN_IF_ERROR(hash_file(expected->algorithm()));
  }
  const Digest actual = digest();
  if (expected && *expected != actual) {
    return failed_precondition("commit ingest \"" + ref() + "\": unexpected commit digest " +
                               actual.string() + ", expected " + expected->string() +
                               ": failed precondition");
  }
  return publish(actual);
}

Status Ingest::publish(const Digest& digest) {
  Store& store = lock_.store();
  // A duplicate is not worth a sync; the rename below decides.
  if (store.info(digest).ok()) return give_way(digest);
  // Mode and time go to disk with the data: a blob is never visible without them.
  const timespec now = wall_clock();
  const timespec times[] = {now, now};
  if (::fchmod(data_.get(), kBlobMode) != 0 || ::futimens(data_.get(), times) != 0) {
    return errno_status(errno, "set mode and time of " + data_path());
  }
  if (::fdatasync(data_.get()) != 0) {
    const Status failed = errno_status(errno, "sync " + data_path());
    discard();  // after a failed sync the kernel drops what it could not write, and a second sync
                // would report success
    return failed;
  }
  BERTH_ASSIGN_OR_RETURN(const Directory blobs,
                         store.blob_directory(digest.algorithm(), /*make=*/true));
  const std::string name(digest.hex());
  int renamed = ::renameat2(directory_.fd(), "data", blobs.fd(), name.c_str(), RENAME_NOREPLACE);
  if (renamed != 0 &&
      (errno == EINVAL || errno == ENOSYS)) {  // not every file system knows the flag
    renamed = ::renameat(directory_.fd(), "data", blobs.fd(), name.c_str());
  }
  if (renamed != 0 && errno == EEXIST) return give_way(digest);
  if (renamed != 0 && errno == ENOENT) {
    gone_ = true;
    return aborted("commit ingest \"" + ref() + "\": it was aborted meanwhile");
  }
  if (renamed != 0)
    return errno_status(errno, "rename " + data_path() + " to " + blobs.path_of(name));
  BERTH_RETURN_IF_ERROR(blobs.sync());
  discard();
  return {};
}

Status Ingest::give_way(const Digest& digest) {
  discard();
  // Who committed it may still be about to sync the directory; the caller takes our answer for "it
  // is there".
  BERTH_ASSIGN_OR_RETURN(const Directory blobs,
                         lock_.store().blob_directory(digest.algorithm(), /*make=*/false));
  BERTH_RETURN_IF_ERROR(blobs.sync());
  return already_exists("content " + digest.string() + ": already exists");
}

void Ingest::discard() {
  closed_ = true;
  gone_ = true;
  const Status removed = lock_.store().abort(ref());
  if (!removed.ok() && removed.code() != Code::kNotFound) {
    lock_.store().log_("could not remove ingest \"" + ref() + "\": " + removed.message());
  }
  // Who hears that a commit is done may use the ref again, before this writer has gone.
  lock_.release();
}

}  // namespace berth::content
