#include "content.h"

#include <berth/filter.h>
#include <fcntl.h>
#include <google/protobuf/io/coded_stream.h>

#include "write_session.h"

namespace berth::content {
namespace {

using google::protobuf::io::CodedOutputStream;

constexpr int64_t kChunk = 1 << 20;    // as containerd sends
constexpr int kInfosPerMessage = 100;  // as containerd sends

void put_time(const timespec& time, google::protobuf::Timestamp* out) {
  out->set_seconds(time.tv_sec);
  out->set_nanos(static_cast<int32_t>(time.tv_nsec));
}

void put_info(const BlobInfo& blob, api::Info* out) {
  out->set_digest(blob.digest.string());
  out->set_size(blob.size);
  put_time(blob.created, out->mutable_created_at());
  put_time(blob.updated, out->mutable_updated_at());
}

void put_status(const IngestStatus& ingest, api::Status* out) {
  out->set_ref(ingest.ref);
  out->set_offset(ingest.offset);
  out->set_total(ingest.total);
  put_time(ingest.started, out->mutable_started_at());
  put_time(ingest.updated, out->mutable_updated_at());
}

FieldLookup fields_of(const BlobInfo& blob) {
  return [&blob](std::span<const std::string> path) -> std::optional<std::string> {
    if (path.front() == "digest") return blob.digest.string();
    return std::nullopt;
  };
}

FieldLookup fields_of(const IngestStatus& ingest) {
  return [&ingest](std::span<const std::string> path) -> std::optional<std::string> {
    if (path.front() == "ref") return ingest.ref;
    return std::nullopt;
  };
}

berth::Status call_ended() { return cancelled("the caller is gone"); }

berth::Status read_exactly(const Blob& blob, int64_t offset, char* out, size_t size) {
  while (size > 0) {
    const ssize_t count = ::pread(blob.fd.get(), out, size, offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_status(errno, "read at offset " + std::to_string(offset));
    if (count == 0) {
      return data_loss("read at offset " + std::to_string(offset) +
                       ": the file ends before its size of " + std::to_string(blob.size) +
                       " bytes");
    }
    out += count;
    offset += count;
    size -= static_cast<size_t>(count);
  }
  return {};
}

// A ReadContentResponse written by hand: the file is read into the message that is sent.
Result<Message> read_chunk(const Blob& blob, int64_t offset, size_t size) {
  constexpr uint8_t kOffsetTag = api::ReadContentResponse::kOffsetFieldNumber << 3;  // varint
  constexpr uint8_t kDataTag =
      api::ReadContentResponse::kDataFieldNumber << 3 | 2;  // length-delimited
  uint8_t head[24];
  uint8_t* end = head;
  *end++ = kOffsetTag;
  end = CodedOutputStream::WriteVarint64ToArray(static_cast<uint64_t>(offset), end);
  *end++ = kDataTag;
  end = CodedOutputStream::WriteVarint32ToArray(static_cast<uint32_t>(size), end);
  const auto head_size = static_cast<size_t>(end - head);

  Message message = Message::with_size(head_size + size);
  if (message.data() == nullptr) {
    return resource_exhausted("read: no memory for a message of " +
                              std::to_string(head_size + size) + " bytes");
  }
  auto* const bytes = static_cast<char*>(message.data());
  std::memcpy(bytes, head, head_size);
  BERTH_RETURN_IF_ERROR(read_exactly(blob, offset, bytes + head_size, size));
  return message;
}

}  // namespace

Result<ReadRange> ReadRange::of(const api::ReadContentRequest& request, int64_t blob_size) {
  ReadRange range;
  range.begin = std::max<int64_t>(request.offset(), 0);
  if (range.begin > blob_size) {
    return out_of_range("read content " + request.digest() + " at offset " +
                        std::to_string(range.begin) + ": past its length of " +
                        std::to_string(blob_size) + " bytes");
  }
  const int64_t left = blob_size - range.begin;
  range.end = range.begin + (request.size() <= 0 ? left : std::min(request.size(), left));
  return range;
}

berth::Status ContentService::Info(Context&, const api::InfoRequest& request,
                                   api::InfoResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const Digest digest, Digest::parse(request.digest()));
  BERTH_ASSIGN_OR_RETURN(const BlobInfo blob, store_->info(digest));
  put_info(blob, response->mutable_info());
  return {};
}

berth::Status ContentService::Update(Context&, const api::UpdateRequest& request,
                                     api::UpdateResponse*) {
  BERTH_ASSIGN_OR_RETURN(const Digest digest, Digest::parse(request.info().digest()));
  return failed_precondition(
      "update content " + digest.string() +
      ": this store keeps no labels, the metadata store does: failed precondition");
}

berth::Status ContentService::List(Context&, const api::ListContentRequest& request,
                                   ServerWriter<api::ListContentResponse>& writer) {
  BERTH_ASSIGN_OR_RETURN(const FilterSet filters, FilterSet::parse(request.filters()));
  api::ListContentResponse batch;
  const auto flush = [&]() -> berth::Status {
    if (batch.info_size() > 0 && !writer.Write(batch)) return call_ended();
    batch.Clear();
    return {};
  };
  BERTH_RETURN_IF_ERROR(store_->walk([&](const BlobInfo& blob) -> berth::Status {
    if (!filters.matches(fields_of(blob))) return {};
    put_info(blob, batch.add_info());
    return batch.info_size() < kInfosPerMessage ? berth::Status() : flush();
  }));
  return flush();
}

berth::Status ContentService::Delete(Context&, const api::DeleteContentRequest& request,
                                     google::protobuf::Empty*) {
  BERTH_ASSIGN_OR_RETURN(const Digest digest, Digest::parse(request.digest()));
  return store_->remove(digest);
}

berth::Status ContentService::Read(Context& context, const api::ReadContentRequest& request,
                                   ServerWriter<api::ReadContentResponse>& writer) {
  BERTH_ASSIGN_OR_RETURN(const Digest digest, Digest::parse(request.digest()));
  BERTH_ASSIGN_OR_RETURN(Blob blob, store_->open_blob(digest));
  BERTH_ASSIGN_OR_RETURN(const ReadRange range, ReadRange::of(request, blob.size));
  if (context.header(kAcceptFdsHeader) == "1") {
    api::ReadContentResponse response;
    response.set_offset(range.begin);
    std::vector<UniqueFd> fds;
    fds.push_back(std::move(blob.fd));
    const int32_t outcome = writer.call().send_with_fds(Message::of(response), std::move(fds));
    return outcome == BERTH_OK ? berth::Status() : call_ended();
  }
  (void)::posix_fadvise(blob.fd.get(), range.begin, range.end - range.begin, POSIX_FADV_SEQUENTIAL);
  for (int64_t offset = range.begin; offset < range.end; offset += kChunk) {
    const auto size = static_cast<size_t>(std::min(kChunk, range.end - offset));
    Result<Message> chunk = read_chunk(blob, offset, size);
    if (!chunk.ok()) return chunk.status().with_context("content " + digest.string());
    if (writer.call().send(std::move(*chunk)) != BERTH_OK) return call_ended();
  }
  return {};
}

berth::Status ContentService::Status(Context&, const api::StatusRequest& request,
                                     api::StatusResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const IngestStatus ingest, store_->status(request.ref()));
  put_status(ingest, response->mutable_status());
  return {};
}

berth::Status ContentService::ListStatuses(Context&, const api::ListStatusesRequest& request,
                                           api::ListStatusesResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const FilterSet filters, FilterSet::parse(request.filters()));
  BERTH_ASSIGN_OR_RETURN(const std::vector<IngestStatus> ingests, store_->statuses());
  for (const IngestStatus& ingest : ingests) {
    if (filters.matches(fields_of(ingest))) put_status(ingest, response->add_statuses());
  }
  return {};
}

berth::Status ContentService::Write(
    Context&, ServerStream<api::WriteContentRequest, api::WriteContentResponse>& stream) {
  WriteSession session(*store_);
  while (!session.committed()) {
    Message message;
    const int32_t outcome = stream.call().recv(&message);
    if (outcome == BERTH_END) return {};  // what was written stays for the next writer
    if (outcome != BERTH_OK) return call_ended();
    BERTH_ASSIGN_OR_RETURN(const WriteMessage write, WriteMessage::parse(message.bytes()));
    api::WriteContentResponse response;
    BERTH_RETURN_IF_ERROR(session.handle(write, &response));
    if (!stream.Write(response)) return call_ended();
  }
  return {};
}

berth::Status ContentService::Abort(Context&, const api::AbortRequest& request,
                                    google::protobuf::Empty*) {
  return store_->abort(request.ref());
}

}  // namespace berth::content
