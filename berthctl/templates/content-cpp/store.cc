#include "store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace @ident@_plugin {

namespace fs = std::filesystem;
using berth::Digest;
using berth::Status;
using berth::errno_status;

namespace {

constexpr size_t kStep = 1 << 20;

void put_now(google::protobuf::Timestamp* out) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  out->set_seconds(now.tv_sec);
  out->set_nanos(static_cast<int32_t>(now.tv_nsec));
}

Status sync(const std::string& path) {
  const berth::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return errno_status(errno, "sync " + path);
  return {};
}

Status write_all(int fd, std::string_view bytes, int64_t offset, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(fd, bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_status(errno, "write " + path);
    bytes.remove_prefix(static_cast<size_t>(count));
    offset += count;
  }
  return {};
}

/// Replaces a file as a whole and durably: readers see the old or the new message.
Status store_message(const std::string& path, const google::protobuf::MessageLite& message) {
  const std::string fresh = path + ".new";
  {
    const berth::UniqueFd fd(::open(fresh.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600));
    if (!fd) return errno_status(errno, "write " + fresh);
    BERTH_RETURN_IF_ERROR(write_all(fd.get(), message.SerializeAsString(), 0, fresh));
    if (::fsync(fd.get()) != 0) return errno_status(errno, "sync " + fresh);
  }
  if (::rename(fresh.c_str(), path.c_str()) != 0) return errno_status(errno, "rename to " + path);
  return sync(fs::path(path).parent_path());
}

template <typename Message>
berth::Result<Message> load_message(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return errno_status(errno, "read " + path);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  Message message;
  if (!message.ParseFromString(bytes)) return berth::data_loss(path + " is damaged");
  return message;
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

Status absent(const Digest& digest) { return berth::not_found("content " + digest.string() + ": not found"); }

}  // namespace

std::string Store::name_of(const Digest& digest) {
  return std::string(berth::algorithm_name(digest.algorithm())) + "-" + std::string(digest.hex());
}

// Any ref is a safe and short name this way.
std::string Store::ingest_path(const std::string& ref) const {
  return root_ + "/ingests/" + std::string(berth::digest_of(ref).hex());
}

berth::Result<std::unique_ptr<Store>> Store::open(const std::string& root) {
  for (const char* name : {"/blobs", "/info", "/ingests"}) {
    std::error_code error;
    fs::create_directories(root + name, error);
    if (error) return errno_status(error.value(), "make " + root + name);
  }
  std::unique_ptr<Store> store(new Store(root));
  // Ingests of before a crash that nobody can name any more.
  for (const std::string& name : names_in(root + "/ingests")) {
    std::error_code ignored;
    if (!store->read_status(root + "/ingests/" + name).ok()) fs::remove_all(root + "/ingests/" + name, ignored);
  }
  return store;
}

berth::Result<api::Info> Store::info(const Digest& digest) const {
  struct stat status {};
  if (::stat(blob_path(digest).c_str(), &status) != 0) return absent(digest);
  BERTH_ASSIGN_OR_RETURN(api::Info info, load_message<api::Info>(info_path(digest)));
  info.set_size(status.st_size);
  return info;
}

berth::Result<api::Info> Store::update(const Digest& digest, const std::function<void(api::Info*)>& change) {
  const std::lock_guard lock(mutex_);
  BERTH_ASSIGN_OR_RETURN(api::Info info, this->info(digest));
  change(&info);
  put_now(info.mutable_updated_at());
  BERTH_RETURN_IF_ERROR(store_message(info_path(digest), info));
  return info;
}

berth::Result<berth::UniqueFd> Store::open_blob(const Digest& digest) const {
  berth::UniqueFd fd(::open(blob_path(digest).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && errno == ENOENT) return absent(digest);
  if (!fd) return errno_status(errno, "open " + blob_path(digest));
  return fd;
}

Status Store::remove(const Digest& digest) {
  const std::lock_guard lock(mutex_);
  if (::unlink(blob_path(digest).c_str()) != 0) {
    return errno == ENOENT ? absent(digest) : errno_status(errno, "remove " + blob_path(digest));
  }
  (void)::unlink(info_path(digest).c_str());
  return {};
}

std::vector<api::Info> Store::blobs() const {
  std::vector<api::Info> found;
  for (std::string name : names_in(root_ + "/blobs")) {
    std::replace(name.begin(), name.end(), '-', ':');
    const auto digest = Digest::parse(name);
    if (!digest.ok()) continue;  // somebody else's
    if (auto one = info(*digest); one.ok()) found.push_back(std::move(*one));
  }
  return found;
}

berth::Result<api::Status> Store::read_status(const std::string& folder) const {
  BERTH_ASSIGN_OR_RETURN(api::Status status, load_message<api::Status>(folder + "/status"));
  struct stat data {};
  if (::stat((folder + "/data").c_str(), &data) != 0) return errno_status(errno, "look at " + folder + "/data");
  status.set_offset(data.st_size);
  status.mutable_updated_at()->set_seconds(std::max(data.st_mtim.tv_sec, status.started_at().seconds()));
  status.mutable_updated_at()->set_nanos(static_cast<int32_t>(data.st_mtim.tv_nsec));
  return status;
}

berth::Result<api::Status> Store::status(const std::string& ref) const {
  auto status = read_status(ingest_path(ref));
  if (!status.ok()) return berth::not_found("ingest " + ref + ": not found");
  return status;
}

std::vector<api::Status> Store::statuses() const {
  std::vector<api::Status> found;
  for (const std::string& name : names_in(root_ + "/ingests")) {
    if (auto one = read_status(root_ + "/ingests/" + name); one.ok()) found.push_back(std::move(*one));
  }
  return found;
}

Status Store::abort(const std::string& ref) {
  std::error_code error;
  const auto removed = fs::remove_all(ingest_path(ref), error);
  if (error) return errno_status(error.value(), "remove ingest " + ref);
  if (removed == 0) return berth::not_found("ingest " + ref + ": not found");
  return {};
}

berth::Result<std::unique_ptr<Ingest>> Store::begin(const std::string& ref, int64_t total) {
  {
    const std::lock_guard lock(mutex_);
    if (!written_.insert(ref).second) return berth::unavailable("ref " + ref + " is locked by another writer: unavailable");
  }
  api::Status status;
  status.set_ref(ref);
  status.set_total(total);
  put_now(status.mutable_started_at());
  std::unique_ptr<Ingest> ingest(new Ingest(*this, status));  // lets go of the ref, whatever comes
  ingest->folder_ = ingest_path(ref);
  const auto found = read_status(ingest->folder_);
  if (found.ok()) {
    ingest->status_ = *found;
  } else {
    std::error_code error;
    fs::create_directories(ingest->folder_, error);
    if (error) return errno_status(error.value(), "make " + ingest->folder_);
    BERTH_RETURN_IF_ERROR(store_message(ingest->folder_ + "/status", ingest->status_));
  }
  const std::string data = ingest->folder_ + "/data";
  ingest->data_.reset(::open(data.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!ingest->data_) return errno_status(errno, "open " + data);
  // What is there is hashed again: it may have changed meanwhile.
  BERTH_RETURN_IF_ERROR(ingest->hash_file(berth::DigestAlgorithm::kSha256));
  return ingest;
}

Ingest::~Ingest() { let_go(); }

void Ingest::let_go() {
  if (!holds_) return;
  holds_ = false;
  const std::lock_guard lock(store_.mutex_);
  store_.written_.erase(status_.ref());
}

void Ingest::discard() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
  let_go();  // who hears of a commit may use the ref again
}

Status Ingest::hash_file(berth::DigestAlgorithm algorithm) {
  digester_ = berth::Digester(algorithm);
  std::string buffer(kStep, '\0');
  int64_t offset = 0;
  while (true) {
    const ssize_t count = ::pread(data_.get(), buffer.data(), buffer.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_status(errno, "read " + folder_ + "/data");
    if (count == 0) break;
    digester_.update(std::string_view(buffer.data(), static_cast<size_t>(count)));
    offset += count;
  }
  status_.set_offset(offset);
  return {};
}

Status Ingest::write(std::string_view bytes) {
  const Status written = write_all(data_.get(), bytes, status_.offset(), folder_ + "/data");
  if (!written.ok()) {
    // Nothing of a piece that did not fit stays.
    (void)!::ftruncate(data_.get(), status_.offset());
    return written;
  }
  digester_.update(bytes);
  status_.set_offset(status_.offset() + static_cast<int64_t>(bytes.size()));
  put_now(status_.mutable_updated_at());
  return {};
}

Status Ingest::truncate() {
  if (::ftruncate(data_.get(), 0) != 0) return errno_status(errno, "truncate " + folder_ + "/data");
  digester_.reset();
  status_.set_offset(0);
  return {};
}

Status Ingest::commit(int64_t total, const std::optional<Digest>& expected, const api::Info& labels) {
  const std::string what = "commit ingest " + status_.ref() + ": ";
  if (total > 0 && total != status_.offset()) {
    return berth::failed_precondition(what + "it has " + std::to_string(status_.offset()) + " bytes and not " +
                                      std::to_string(total));
  }
  if (expected && expected->algorithm() != digester_.algorithm()) {
    BERTH_RETURN_IF_ERROR(hash_file(expected->algorithm()));
  }
  const Digest actual = digest();
  if (expected && *expected != actual) {
    return berth::failed_precondition(what + "its digest is " + actual.string() + " and not " + expected->string());
  }
  if (::fsync(data_.get()) != 0) return errno_status(errno, "sync " + folder_ + "/data");
  api::Info info = labels;
  info.set_digest(actual.string());
  info.set_size(status_.offset());
  put_now(info.mutable_created_at());
  *info.mutable_updated_at() = info.created_at();
  BERTH_ASSIGN_OR_RETURN(const bool fresh, publish(actual, info));
  discard();
  if (!fresh) return berth::already_exists("content " + actual.string() + ": already exists");
  return {};
}

// False: there is such a blob.
berth::Result<bool> Ingest::publish(const Digest& digest, const api::Info& info) {
  const std::lock_guard lock(store_.mutex_);
  const std::string blob = store_.blob_path(digest);
  if (::access(blob.c_str(), F_OK) == 0) return false;
  // What is known of a blob is there before it is.
  BERTH_RETURN_IF_ERROR(store_message(store_.info_path(digest), info));
  if (::rename((folder_ + "/data").c_str(), blob.c_str()) != 0) return errno_status(errno, "rename to " + blob);
  BERTH_RETURN_IF_ERROR(sync(store_.root_ + "/blobs"));
  return true;
}

}  // namespace @ident@_plugin
