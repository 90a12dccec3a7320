#include "write_session.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

namespace berth::content {
namespace {

using containerd::services::content::v1::WriteAction;
using containerd::services::content::v1::WriteContentRequest;
using containerd::services::content::v1::WriteContentResponse;
using google::protobuf::internal::WireFormatLite;

// Skips the value behind `tag`.
bool skip_value(google::protobuf::io::CodedInputStream* in, uint32_t tag) {
  uint64_t number = 0;
  uint32_t length = 0;
  switch (WireFormatLite::GetTagWireType(tag)) {
    case WireFormatLite::WIRETYPE_VARINT:
      return in->ReadVarint64(&number);
    case WireFormatLite::WIRETYPE_FIXED64:
      return in->Skip(8);
    case WireFormatLite::WIRETYPE_FIXED32:
      return in->Skip(4);
    case WireFormatLite::WIRETYPE_LENGTH_DELIMITED:
      return in->ReadVarint32(&length) && length <= INT32_MAX && in->Skip(static_cast<int>(length));
    default:
      return false;  // groups do not occur in proto3
  }
}

void put_time(const timespec& time, google::protobuf::Timestamp* out) {
  out->set_seconds(time.tv_sec);
  out->set_nanos(static_cast<int32_t>(time.tv_nsec));
}

}  // namespace

Result<WriteMessage> WriteMessage::parse(std::string_view bytes) {
  const auto malformed = [&] {
    return invalid_argument(
        "message of " + std::to_string(bytes.size()) +
        " bytes is not a well-formed containerd.services.content.v1.WriteContentRequest");
  };
  if (bytes.size() > INT32_MAX) return malformed();
  WriteMessage message;
  std::string rest;  // everything but the data
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()),
                                            static_cast<int>(bytes.size()));
  while (true) {
    const auto begin = static_cast<size_t>(in.CurrentPosition());
    const uint32_t tag = in.ReadTag();
    if (tag == 0) {
      if (begin != bytes.size()) return malformed();
      break;
    }
    if (tag == WireFormatLite::MakeTag(WriteContentRequest::kDataFieldNumber,
                                       WireFormatLite::WIRETYPE_LENGTH_DELIMITED)) {
      uint32_t length = 0;
      if (!in.ReadVarint32(&length)) return malformed();
      const auto position = static_cast<size_t>(in.CurrentPosition());
      if (length > bytes.size() - position) return malformed();
      message.data = bytes.substr(position, length);
      if (!in.Skip(static_cast<int>(length))) return malformed();
      continue;
    }
    if (!skip_value(&in, tag)) return malformed();
    rest += bytes.substr(begin, static_cast<size_t>(in.CurrentPosition()) - begin);
  }
  if (!message.request.ParseFromString(rest)) return malformed();
  return message;
}

Status WriteSession::handle(const WriteMessage& message, WriteContentResponse* response) {
  const Request& request = message.request;
  if (!ingest_) BERTH_RETURN_IF_ERROR(open(request));
  BERTH_RETURN_IF_ERROR(expect(request));
  switch (request.action()) {
    case WriteAction::STAT:
      break;
    case WriteAction::WRITE:
      BERTH_RETURN_IF_ERROR(write(message));
      break;
    case WriteAction::COMMIT:
      BERTH_RETURN_IF_ERROR(write(message));
      BERTH_RETURN_IF_ERROR(ingest_->commit(total_, expected_));
      committed_ = true;
      break;
    default:
      return invalid_argument("write to ingest \"" + ingest_->ref() + "\": unknown action " +
                              std::to_string(request.action()));
  }
  response->set_action(request.action());
  response->set_offset(ingest_->offset());
  response->set_total(total_);
  response->set_digest(ingest_->digest().string());
  put_time(ingest_->started(), response->mutable_started_at());
  put_time(ingest_->updated(), response->mutable_updated_at());
  return {};
}

Status WriteSession::open(const Request& request) {
  if (request.ref().empty())
    return invalid_argument("write content: the first message must have a ref");
  std::optional<Digest> expected;
  if (!request.expected().empty()) {
    BERTH_ASSIGN_OR_RETURN(expected, Digest::parse(request.expected()));
  }
  BERTH_ASSIGN_OR_RETURN(ingest_, store_.begin(request.ref(), request.total(), expected));
  return {};
}

// Size and digest may be told with any message; the last ones count.
Status WriteSession::expect(const Request& request) {
  if (request.total() < 0) {
    return invalid_argument("write to ingest \"" + ingest_->ref() + "\": total " +
                            std::to_string(request.total()) + " is negative");
  }
  if (request.total() > 0) total_ = request.total();
  if (request.expected().empty()) return {};
  BERTH_ASSIGN_OR_RETURN(expected_, Digest::parse(request.expected()));
  if (!store_.info(*expected_).ok()) return {};
  // Someone else was faster. The bytes here are of no more use.
  const std::string ref = ingest_->ref();
  ingest_.reset();
  const Status removed = store_.abort(ref);
  if (!removed.ok() && removed.code() != Code::kNotFound) return removed;
  return already_exists("content " + expected_->string() +
                        ": blob with the expected digest already exists");
}

Status WriteSession::write(const WriteMessage& message) {
  const int64_t offset = message.request.offset();
  if (offset < 0) {
    return invalid_argument("write to ingest \"" + ingest_->ref() + "\": offset " +
                            std::to_string(offset) + " is negative");
  }
  if (offset > 0 && offset != ingest_->offset()) {
    return out_of_range("write to ingest \"" + ingest_->ref() + "\" at offset " +
                        std::to_string(offset) + ": it must be at the current offset " +
                        std::to_string(ingest_->offset()) + ", or at 0 to start over");
  }
  if (offset == 0 && ingest_->offset() > 0) BERTH_RETURN_IF_ERROR(ingest_->truncate());
  if (message.data.empty()) return {};
  return ingest_->write(message.data);
}

}  // namespace berth::content
