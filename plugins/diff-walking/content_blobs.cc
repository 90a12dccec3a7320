#include "content_blobs.h"

#include "fd_source.h"

namespace berth::diff_walking {
namespace {

namespace api = containerd::services::content::v1;

// As large as the store's own messages.
constexpr size_t kMessage = 1 << 20;

class MessageSource final : public ByteSource {
 public:
  MessageSource(ClientReader<api::ReadContentResponse> reader, Message first)
      : reader_(std::move(reader)), message_(std::move(first)), has_message_(true) {}

  Result<std::span<const std::byte>> next() override {
    while (true) {
      if (!has_message_ && !reader_.read_message(&message_)) {
        BERTH_RETURN_IF_ERROR(reader_.Finish());
        return std::span<const std::byte>();
      }
      has_message_ = false;
      BERTH_RETURN_IF_ERROR(message_.parse(&response_));
      if (response_.data().empty()) continue;
      return std::as_bytes(std::span(response_.data()));
    }
  }

 private:
  ClientReader<api::ReadContentResponse> reader_;
  Message message_;
  bool has_message_;
  api::ReadContentResponse response_;
};

class CancellableSource final : public ByteSource {
 public:
  CancellableSource(const Context& context, std::unique_ptr<ByteSource> source)
      : context_(context), source_(std::move(source)) {}
  Result<std::span<const std::byte>> next() override {
    if (context_.cancelled()) return cancelled("the caller has given up");
    return source_->next();
  }

 private:
  Context context_;
  std::unique_ptr<ByteSource> source_;
};

}  // namespace

Result<std::unique_ptr<ByteSource>> open_blob(const Context& context,
                                              const api::ContentClient& content,
                                              const std::string& digest) {
  api::ReadContentRequest request;
  request.set_digest(digest);
  ClientReader<api::ReadContentResponse> reader =
      content.Read(context.with("berth-accept-fds", "1"), request);
  Message first;
  std::unique_ptr<ByteSource> source;
  if (!reader.read_message(&first)) {
    BERTH_RETURN_IF_ERROR(reader.Finish());
    source = std::make_unique<MemorySource>(std::span<const std::byte>());
  } else if (std::vector<UniqueFd> fds = first.take_fds(); !fds.empty()) {
    source = std::make_unique<FdSource>(std::move(fds.front()), "blob " + digest);
  } else {
    source = std::make_unique<MessageSource>(std::move(reader), std::move(first));
  }
  std::unique_ptr<ByteSource> out = std::make_unique<CancellableSource>(context, std::move(source));
  return out;
}

Result<std::unique_ptr<BlobWriter>> BlobWriter::open(const Context& context,
                                                     const api::ContentClient& content,
                                                     std::string ref) {
  std::unique_ptr<BlobWriter> writer(new BlobWriter(content.Write(context), std::move(ref)));
  Request request;
  request.set_action(api::WriteAction::STAT);
  request.set_ref(writer->ref_);
  BERTH_RETURN_IF_ERROR(writer->exchange(request));
  return writer;
}

Status BlobWriter::exchange(const Request& request) {
  Response response;
  if (stream_.Write(request) && stream_.Read(&response)) return {};
  Status status = stream_.Finish();
  if (status.ok()) {
    status = internal_error("ingest " + ref_ + ": the content store ended the write early");
  }
  return status;
}

Status BlobWriter::flush() {
  if (pending_.empty()) return {};
  Request request;
  request.set_action(api::WriteAction::WRITE);
  request.set_ref(ref_);
  request.set_offset(offset_);
  offset_ += static_cast<int64_t>(pending_.size());
  request.set_data(std::move(pending_));
  pending_.clear();
  return exchange(request);
}

Status BlobWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const size_t count = std::min(bytes.size(), kMessage - pending_.size());
    pending_.append(reinterpret_cast<const char*>(bytes.data()), count);
    bytes = bytes.subspan(count);
    if (pending_.size() == kMessage) BERTH_RETURN_IF_ERROR(flush());
  }
  return {};
}

void BlobWriter::restart() {
  pending_.clear();
  offset_ = 0;  // a write at 0 drops what was there
}

Status BlobWriter::commit(const std::string& digest, uint64_t size,
                          const std::map<std::string, std::string>& labels) {
  BERTH_RETURN_IF_ERROR(flush());
  Request request;
  request.set_action(api::WriteAction::COMMIT);
  request.set_ref(ref_);
  request.set_total(static_cast<int64_t>(size));
  request.set_expected(digest);
  request.set_offset(offset_);
  for (const auto& [key, value] : labels) (*request.mutable_labels())[key] = value;
  Status status = exchange(request);
  if (status.ok()) {
    stream_.WritesDone();
    status = stream_.Finish();
  }
  return status.code() == Code::kAlreadyExists ? Status() : status;
}

}  // namespace berth::diff_walking
