#include "bus_backends.h"

#include <google/protobuf/io/coded_stream.h>

namespace berth::metadata {
namespace {

namespace content = containerd::services::content::v1;
namespace snapshots = containerd::services::snapshots::v1;

// A WriteContentRequest written by hand, so that the data is copied once.
Message write_message(const content::WriteContentRequest& head, std::string_view data) {
  using google::protobuf::io::CodedOutputStream;
  if (data.empty()) return Message::of(head);
  constexpr uint8_t kDataTag = content::WriteContentRequest::kDataFieldNumber << 3 | 2;
  uint8_t prefix[8];
  prefix[0] = kDataTag;
  const uint8_t* prefix_end =
      CodedOutputStream::WriteVarint32ToArray(static_cast<uint32_t>(data.size()), prefix + 1);
  const auto prefix_size = static_cast<size_t>(prefix_end - prefix);
  const size_t head_size = head.ByteSizeLong();
  Message message = Message::with_size(head_size + prefix_size + data.size());
  auto* bytes = static_cast<char*>(message.data());
  if (bytes == nullptr) return message;
  head.SerializeToArray(bytes, static_cast<int>(head_size));
  std::memcpy(bytes + head_size, prefix, prefix_size);
  std::memcpy(bytes + head_size + prefix_size, data.data(), data.size());
  return message;
}

class BusBlobWriter final : public BlobWriter {
 public:
  BusBlobWriter(Target target, const Context& context)
      : call_(ClientCall::open(target, target.resolve(kMethod), context)) {}

  Status exchange(const content::WriteContentRequest& head, std::string_view data,
                  content::WriteContentResponse* response) override {
    if (call_.send(write_message(head, data)) != BERTH_OK) return ended();
    Message reply;
    if (call_.recv(&reply) != BERTH_OK) return ended();
    return reply.parse(response);
  }

 private:
  static constexpr std::string_view kMethod = "containerd.services.content.v1.Content/Write";

  Status ended() {
    Status status = call_.finish();
    return status.ok() ? internal_error("the content store ended a write before its response")
                       : status;
  }
  ClientCall call_;
};

class BusContentBackend final : public ContentBackend {
 public:
  explicit BusContentBackend(content::ContentClient client) : client_(std::move(client)) {}

  Result<int64_t> size(const Context& context, const std::string& digest) override {
    content::InfoRequest request;
    request.set_digest(digest);
    content::InfoResponse response;
    BERTH_RETURN_IF_ERROR(client_.Info(context, request, &response));
    return response.info().size();
  }
  Status remove(const Context& context, const std::string& digest) override {
    content::DeleteContentRequest request;
    request.set_digest(digest);
    google::protobuf::Empty response;
    return client_.Delete(context, request, &response);
  }
  Status list(const Context& context,
              const std::function<bool(const std::string&)>& visit) override {
    auto reader = client_.List(context, content::ListContentRequest());
    content::ListContentResponse response;
    while (reader.Read(&response)) {
      for (const content::Info& info : response.info()) {
        if (!visit(info.digest())) return {};
      }
    }
    return reader.Finish();
  }
  Status status(const Context& context, const std::string& ref, content::Status* out) override {
    content::StatusRequest request;
    request.set_ref(ref);
    content::StatusResponse response;
    BERTH_RETURN_IF_ERROR(client_.Status(context, request, &response));
    *out = std::move(*response.mutable_status());
    return {};
  }
  Status statuses(const Context& context, content::ListStatusesResponse* out) override {
    return client_.ListStatuses(context, content::ListStatusesRequest(), out);
  }
  Status abort(const Context& context, const std::string& ref) override {
    content::AbortRequest request;
    request.set_ref(ref);
    google::protobuf::Empty response;
    return client_.Abort(context, request, &response);
  }
  std::unique_ptr<BlobWriter> write(const Context& context) override {
    return std::make_unique<BusBlobWriter>(client_.target(), context);
  }

 private:
  content::ContentClient client_;
};

class BusSnapshotBackend final : public SnapshotBackend {
 public:
  BusSnapshotBackend(std::string name, snapshots::SnapshotsClient client)
      : name_(std::move(name)), client_(std::move(client)) {}

  Status prepare(const Context& context, const PrepareRequest& request,
                 PrepareResponse* response) override {
    return client_.Prepare(context, named(request), response);
  }
  Status view(const Context& context, const ViewRequest& request, ViewResponse* response) override {
    return client_.View(context, named(request), response);
  }
  Status commit(const Context& context, const CommitRequest& request) override {
    google::protobuf::Empty response;
    return client_.Commit(context, named(request), &response);
  }
  Status mounts(const Context& context, const std::string& key, MountsResponse* out) override {
    return client_.Mounts(context, keyed<snapshots::MountsRequest>(key), out);
  }
  Status usage(const Context& context, const std::string& key, UsageResponse* out) override {
    return client_.Usage(context, keyed<snapshots::UsageRequest>(key), out);
  }
  Status stat(const Context& context, const std::string& key, Info* out) override {
    snapshots::StatSnapshotResponse response;
    BERTH_RETURN_IF_ERROR(
        client_.Stat(context, keyed<snapshots::StatSnapshotRequest>(key), &response));
    *out = std::move(*response.mutable_info());
    return {};
  }
  Status update(const Context& context, const UpdateRequest& request, Info* out) override {
    snapshots::UpdateSnapshotResponse response;
    BERTH_RETURN_IF_ERROR(client_.Update(context, named(request), &response));
    *out = std::move(*response.mutable_info());
    return {};
  }
  Status remove(const Context& context, const std::string& key) override {
    google::protobuf::Empty response;
    return client_.Remove(context, keyed<snapshots::RemoveSnapshotRequest>(key), &response);
  }
  Status cleanup(const Context& context) override {
    google::protobuf::Empty response;
    return client_.Cleanup(context, named(snapshots::CleanupRequest()), &response);
  }
  Status list(const Context& context, const std::vector<std::string>& filters,
              const std::function<bool(const Info&)>& visit) override {
    snapshots::ListSnapshotsRequest request;
    request.set_snapshotter(name_);
    for (const std::string& filter : filters) request.add_filters(filter);
    auto reader = client_.List(context, request);
    snapshots::ListSnapshotsResponse response;
    while (reader.Read(&response)) {
      for (const Info& info : response.info()) {
        if (!visit(info)) return {};
      }
    }
    return reader.Finish();
  }

 private:
  template <typename Request>
  Request named(const Request& request) const {
    Request copy = request;
    copy.set_snapshotter(name_);
    return copy;
  }
  template <typename Request>
  Request keyed(const std::string& key) const {
    Request request;
    request.set_snapshotter(name_);
    request.set_key(key);
    return request;
  }

  const std::string name_;
  snapshots::SnapshotsClient client_;
};

}  // namespace

std::unique_ptr<ContentBackend> make_content_backend(content::ContentClient client) {
  return std::make_unique<BusContentBackend>(std::move(client));
}

std::unique_ptr<SnapshotBackend> make_snapshot_backend(std::string name,
                                                       snapshots::SnapshotsClient client) {
  return std::make_unique<BusSnapshotBackend>(std::move(name), std::move(client));
}

}  // namespace berth::metadata
