#include "@ident@.h"

#include <berth/filter.h>
#include <unistd.h>

#include <algorithm>

namespace @ident@_plugin {

using berth::Digest;

namespace {

constexpr int64_t kChunk = 1 << 20;
constexpr int kBatch = 100;
constexpr size_t kLongestLabel = 4096;  // key and value together
constexpr std::string_view kLabels = "labels.";

berth::FieldLookup fields_of(const api::Info& info) {
  return [&info](std::span<const std::string> path) -> std::optional<std::string> {
    if (path.front() == "digest") return info.digest();
    if (path.front() != "labels") return std::nullopt;
    const auto found = info.labels().find(berth::joined_field_path(path.subspan(1)));
    return found == info.labels().end() ? std::nullopt : std::optional(found->second);
  };
}

berth::FieldLookup fields_of(const api::Status& status) {
  return [&status](std::span<const std::string> path) -> std::optional<std::string> {
    return path.front() == "ref" ? std::optional(status.ref()) : std::nullopt;
  };
}

template <typename Labels>
berth::Status check_labels(const Labels& labels) {
  for (const auto& [key, value] : labels) {
    if (key.size() + value.size() > kLongestLabel) {
      return berth::invalid_argument("label " + key.substr(0, 100) + ": key and value have more than " +
                                     std::to_string(kLongestLabel) + " bytes");
    }
  }
  return {};
}

berth::Status caller_is_gone() { return berth::cancelled("the caller is gone"); }

}  // namespace

berth::Status @Class@::Info(berth::Context&, const api::InfoRequest& request, api::InfoResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const Digest digest, Digest::parse(request.digest()));
  BERTH_ASSIGN_OR_RETURN(*response->mutable_info(), store_->info(digest));
  return {};
}

berth::Status @Class@::Update(berth::Context&, const api::UpdateRequest& request, api::UpdateResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const Digest digest, Digest::parse(request.info().digest()));
  const auto& wanted = request.info().labels();
  BERTH_RETURN_IF_ERROR(check_labels(wanted));
  for (const std::string& path : request.update_mask().paths()) {
    if (path != "labels" && !path.starts_with(kLabels)) {
      return berth::invalid_argument("update content " + digest.string() + ": " + path + " cannot be changed");
    }
  }
  const auto change = [&](api::Info* info) {
    auto& labels = *info->mutable_labels();
    if (request.update_mask().paths().empty()) labels = wanted;
    for (const std::string& path : request.update_mask().paths()) {
      if (path == "labels") {
        labels = wanted;
        continue;
      }
      const std::string key = path.substr(kLabels.size());
      labels.erase(key);
      if (wanted.contains(key)) labels[key] = wanted.at(key);
    }
  };
  BERTH_ASSIGN_OR_RETURN(*response->mutable_info(), store_->update(digest, change));
  return {};
}

berth::Status @Class@::List(berth::Context&, const api::ListContentRequest& request,
                            berth::ServerWriter<api::ListContentResponse>& writer) {
  BERTH_ASSIGN_OR_RETURN(const berth::FilterSet filters, berth::FilterSet::parse(request.filters()));
  api::ListContentResponse batch;
  for (const api::Info& info : store_->blobs()) {
    if (!filters.matches(fields_of(info))) continue;
    *batch.add_info() = info;
    if (batch.info_size() < kBatch) continue;
    if (!writer.Write(batch)) return caller_is_gone();
    batch.Clear();
  }
  if (batch.info_size() > 0 && !writer.Write(batch)) return caller_is_gone();
  return {};
}

berth::Status @Class@::Delete(berth::Context&, const api::DeleteContentRequest& request, google::protobuf::Empty*) {
  BERTH_ASSIGN_OR_RETURN(const Digest digest, Digest::parse(request.digest()));
  return store_->remove(digest);
}

berth::Status @Class@::Read(berth::Context&, const api::ReadContentRequest& request,
                            berth::ServerWriter<api::ReadContentResponse>& writer) {
  BERTH_ASSIGN_OR_RETURN(const Digest digest, Digest::parse(request.digest()));
  BERTH_ASSIGN_OR_RETURN(const api::Info info, store_->info(digest));
  BERTH_ASSIGN_OR_RETURN(const berth::UniqueFd fd, store_->open_blob(digest));
  int64_t offset = std::max<int64_t>(request.offset(), 0);
  if (offset > info.size()) {
    return berth::out_of_range("read content " + digest.string() + " at offset " + std::to_string(offset) + ": it has " +
                               std::to_string(info.size()) + " bytes");
  }
  const int64_t end = request.size() <= 0 ? info.size() : offset + std::min(request.size(), info.size() - offset);
  api::ReadContentResponse response;
  while (offset < end) {
    std::string* const data = response.mutable_data();
    data->resize(static_cast<size_t>(std::min(kChunk, end - offset)));
    const ssize_t count = ::pread(fd.get(), data->data(), data->size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return berth::errno_status(errno, "read content " + digest.string());
    if (count == 0) return berth::data_loss("content " + digest.string() + " ends before its size");
    data->resize(static_cast<size_t>(count));
    response.set_offset(offset);
    if (!writer.Write(response)) return caller_is_gone();
    offset += count;
  }
  return {};
}

berth::Status @Class@::Status(berth::Context&, const api::StatusRequest& request, api::StatusResponse* response) {
  BERTH_ASSIGN_OR_RETURN(*response->mutable_status(), store_->status(request.ref()));
  return {};
}

berth::Status @Class@::ListStatuses(berth::Context&, const api::ListStatusesRequest& request,
                                    api::ListStatusesResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const berth::FilterSet filters, berth::FilterSet::parse(request.filters()));
  for (const api::Status& status : store_->statuses()) {
    if (filters.matches(fields_of(status))) *response->add_statuses() = status;
  }
  return {};
}

berth::Status @Class@::Abort(berth::Context&, const api::AbortRequest& request, google::protobuf::Empty*) {
  return store_->abort(request.ref());
}

// Each message is answered before the next is read. The first names the ref; a commit, or an error, ends the call.
berth::Status @Class@::Write(berth::Context&,
                             berth::ServerStream<api::WriteContentRequest, api::WriteContentResponse>& stream) {
  std::unique_ptr<Ingest> ingest;
  std::optional<Digest> expected;
  int64_t total = 0;
  api::WriteContentRequest request;
  while (stream.Read(&request)) {
    if (request.ref().empty() && ingest == nullptr) return berth::invalid_argument("write content: the first message must have a ref");
    if (request.offset() < 0 || request.total() < 0) return berth::invalid_argument("write content: a number is negative");
    if (ingest == nullptr) {
      BERTH_ASSIGN_OR_RETURN(ingest, store_->begin(request.ref(), request.total()));
    }
    const std::string ref = ingest->status().ref();
    // What is expected may be told with any message; the last one counts.
    if (request.total() > 0) total = request.total();
    if (!request.expected().empty()) {
      BERTH_ASSIGN_OR_RETURN(expected, Digest::parse(request.expected()));
      if (store_->info(*expected).ok()) {  // somebody was faster
        ingest.reset();
        (void)store_->abort(ref);
        return berth::already_exists("content " + expected->string() + ": already exists");
      }
    }
    if (request.action() != api::WriteAction::STAT) {
      if (request.offset() > 0 && request.offset() != ingest->status().offset()) {
        return berth::out_of_range("write to ingest " + ref + " at offset " + std::to_string(request.offset()) + ": it is at " +
                                   std::to_string(ingest->status().offset()));
      }
      if (request.offset() == 0 && ingest->status().offset() > 0) BERTH_RETURN_IF_ERROR(ingest->truncate());
      BERTH_RETURN_IF_ERROR(ingest->write(request.data()));
    }
    const bool commit = request.action() == api::WriteAction::COMMIT;
    if (commit) {
      BERTH_RETURN_IF_ERROR(check_labels(request.labels()));
      api::Info labels;
      *labels.mutable_labels() = request.labels();
      BERTH_RETURN_IF_ERROR(ingest->commit(total, expected, labels));
    }
    api::WriteContentResponse response;
    response.set_action(request.action());
    response.set_offset(ingest->status().offset());
    response.set_total(total);
    response.set_digest(ingest->digest().string());
    *response.mutable_started_at() = ingest->status().started_at();
    *response.mutable_updated_at() = ingest->status().updated_at();
    if (!stream.Write(response)) return caller_is_gone();
    if (commit) return {};
  }
  return {};  // what was written stays for the next writer
}

}  // namespace @ident@_plugin
