#include "validate/kits/memory_content.h"

#include <berth/digest.h>

namespace berth::ctl::validate {

namespace api = containerd::services::content::v1;
namespace {

constexpr size_t kChunk = 64 << 10;  // small, so that blobs come in pieces

berth::Status absent(const std::string& digest) {
  return not_found("content " + digest + ": not found");
}

}  // namespace

std::string MemoryContent::add(const std::string& bytes, const std::string& under) {
  const std::lock_guard lock(mutex_);
  const std::string digest = under.empty() ? digest_of(bytes).string() : under;
  blobs_[digest].bytes = bytes;
  return digest;
}

MemoryContent::Blob MemoryContent::get(const std::string& digest) {
  const std::lock_guard lock(mutex_);
  return blobs_[digest];
}

std::set<std::string> MemoryContent::ingests() {
  const std::lock_guard lock(mutex_);
  std::set<std::string> refs;
  for (const auto& [ref, bytes] : ingests_) refs.insert(ref);
  return refs;
}

berth::Status MemoryContent::Info(Context&, const api::InfoRequest& request,
                                  api::InfoResponse* response) {
  const std::lock_guard lock(mutex_);
  const auto found = blobs_.find(request.digest());
  if (found == blobs_.end()) return absent(request.digest());
  api::Info* const info = response->mutable_info();
  info->set_digest(request.digest());
  info->set_size(static_cast<int64_t>(found->second.bytes.size()));
  info->mutable_labels()->insert(found->second.labels.begin(), found->second.labels.end());
  return {};
}

berth::Status MemoryContent::Update(Context& context, const api::UpdateRequest& request,
                                    api::UpdateResponse* response) {
  constexpr std::string_view kPrefix = "labels.";
  const std::string& digest = request.info().digest();
  {
    const std::lock_guard lock(mutex_);
    const auto found = blobs_.find(digest);
    if (found == blobs_.end()) return absent(digest);
    Labels& labels = found->second.labels;
    const auto& wanted = request.info().labels();
    if (request.update_mask().paths().empty()) labels = {wanted.begin(), wanted.end()};
    for (const std::string& path : request.update_mask().paths()) {
      if (path == "labels") {
        labels = {wanted.begin(), wanted.end()};
      } else if (path.starts_with(kPrefix)) {
        const std::string key = path.substr(kPrefix.size());
        labels.erase(key);
        if (wanted.contains(key)) labels[key] = wanted.at(key);
      } else {
        return invalid_argument("update content " + digest + ": " + path + " cannot be changed");
      }
    }
  }
  api::InfoRequest again;
  api::InfoResponse now;
  again.set_digest(digest);
  BERTH_RETURN_IF_ERROR(Info(context, again, &now));
  *response->mutable_info() = now.info();
  return {};
}

berth::Status MemoryContent::Read(Context&, const api::ReadContentRequest& request,
                                  ServerWriter<api::ReadContentResponse>& writer) {
  std::string bytes;
  {
    const std::lock_guard lock(mutex_);
    const auto found = blobs_.find(request.digest());
    if (found == blobs_.end()) return absent(request.digest());
    bytes = found->second.bytes;
  }
  const auto begin = static_cast<size_t>(request.offset());
  if (request.offset() < 0 || begin > bytes.size()) return out_of_range("read: past the end");
  size_t end = bytes.size();
  if (request.size() > 0) end = std::min(end, begin + static_cast<size_t>(request.size()));
  api::ReadContentResponse response;
  for (size_t at = begin; at < end; at += kChunk) {
    response.set_offset(static_cast<int64_t>(at));
    response.set_data(bytes.substr(at, std::min(kChunk, end - at)));
    if (!writer.Write(response)) return cancelled("the caller is gone");
  }
  return {};
}

berth::Status MemoryContent::commit(const api::WriteContentRequest& request) {
  const std::lock_guard lock(mutex_);
  const std::string& bytes = ingests_[request.ref()];
  const std::string digest = digest_of(bytes).string();
  if ((request.total() > 0 && request.total() != static_cast<int64_t>(bytes.size())) ||
      (!request.expected().empty() && request.expected() != digest)) {
    return failed_precondition("commit " + request.ref() + ": " + digest + " is not expected");
  }
  const bool known = blobs_.contains(digest);
  if (!known) blobs_[digest] = {bytes, {request.labels().begin(), request.labels().end()}};
  ingests_.erase(request.ref());
  return known ? already_exists("content " + digest + ": already exists") : berth::Status();
}

berth::Status MemoryContent::Write(
    Context&, ServerStream<api::WriteContentRequest, api::WriteContentResponse>& stream) {
  api::WriteContentRequest request;
  std::string ref;
  while (stream.Read(&request)) {
    if (ref.empty()) ref = request.ref();
    if (ref.empty()) return invalid_argument("write content: the first message must have a ref");
    request.set_ref(ref);
    api::WriteContentResponse response;
    {
      const std::lock_guard lock(mutex_);
      std::string& bytes = ingests_[ref];
      if (request.action() != api::WriteAction::STAT) {
        if (full_) return resource_exhausted("write content " + ref + ": the disk is full");
        if (request.offset() == 0) bytes.clear();
        if (request.offset() != static_cast<int64_t>(bytes.size())) {
          return out_of_range("write content " + ref + ": not at its end");
        }
        bytes += request.data();
      }
      response.set_offset(static_cast<int64_t>(bytes.size()));
      response.set_digest(digest_of(bytes).string());
    }
    response.set_action(request.action());
    response.set_total(request.total());
    if (request.action() == api::WriteAction::COMMIT) BERTH_RETURN_IF_ERROR(commit(request));
    if (!stream.Write(response)) return cancelled("the caller is gone");
    if (request.action() == api::WriteAction::COMMIT) return {};
  }
  return {};
}

berth::Status MemoryContent::Abort(Context&, const api::AbortRequest& request,
                                   google::protobuf::Empty*) {
  const std::lock_guard lock(mutex_);
  if (ingests_.erase(request.ref()) == 0) return not_found("ingest " + request.ref());
  return {};
}

}  // namespace berth::ctl::validate
