#include "client.h"

#include <google/protobuf/empty.pb.h>

#include <chrono>
#include <stdexcept>

#include "containerd/services/content/v1/content.pb.h"
#include "containerd/services/version/v1/version.pb.h"

namespace berth::bench {
namespace {

namespace content = containerd::services::content::v1;

grpc::ByteBuffer to_buffer(const google::protobuf::MessageLite& message) {
  grpc::Slice slice(message.ByteSizeLong());
  message.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));
  return {&slice, 1};
}

bool parse(const grpc::ByteBuffer& buffer, google::protobuf::MessageLite* message) {
  grpc::Slice slice;
  if (!buffer.Valid()) return false;
  if (!buffer.TrySingleSlice(&slice).ok() && !buffer.DumpToSingleSlice(&slice).ok()) return false;
  return message->ParseFromArray(slice.begin(), static_cast<int>(slice.size()));
}

grpc::ChannelArguments own_connection() {
  grpc::ChannelArguments arguments;
  // Channels to one address would share a connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(64 << 20);
  return arguments;
}

}  // namespace

Client::Client(const std::string& address, const std::string& space)
    : space_(space),
      channel_(grpc::CreateCustomChannel("unix:" + address, grpc::InsecureChannelCredentials(),
                                         own_connection())),
      stub_(channel_) {}

void Client::prepare(grpc::ClientContext* context, int timeout_ms) const {
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(timeout_ms));
  context->AddMetadata("containerd-namespace", space_);
}

void Client::exchange(const char* method, const google::protobuf::MessageLite& request,
                      google::protobuf::MessageLite* response, int timeout_ms) {
  grpc::ClientContext context;
  prepare(&context, timeout_ms);
  auto reader = stub_.PrepareUnaryCall(&context, method, to_buffer(request), &queue_);
  reader->StartCall();
  grpc::ByteBuffer buffer;
  grpc::Status status;
  reader->Finish(&buffer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue_.Next(&tag, &ok);
  if (!status.ok()) throw std::runtime_error(std::string(method) + ": " + status.error_message());
  if (!parse(buffer, response)) {
    throw std::runtime_error(std::string(method) + ": the answer is not a " +
                             response->GetTypeName());
  }
}

bool Client::answers() {
  containerd::services::version::v1::VersionResponse version;
  try {
    exchange("/containerd.services.version.v1.Version/Version", google::protobuf::Empty(), &version,
             1000);
    return true;
  } catch (const std::runtime_error&) {
    return false;
  }
}

Client::BlobStream::BlobStream(Client* client, const std::string& digest, size_t size)
    : client_(client), digest_(digest), ref_("bench-" + digest), size_(size) {
  client_->prepare(&context_, 600'000);
  stream_ = client_->stub_.PrepareCall(&context_, "/containerd.services.content.v1.Content/Write",
                                       &queue_);
  stream_->StartCall(nullptr);
  if (!next()) fail("open");
  content::WriteContentRequest request;
  request.set_action(content::STAT);
  request.set_ref(ref_);
  request.set_total(static_cast<int64_t>(size));
  request.set_expected(digest);
  round_trip(request, "open");
}

Client::BlobStream::~BlobStream() {
  if (!finished_) {
    context_.TryCancel();
    grpc::Status ignored;
    stream_->Finish(&ignored, nullptr);
    next();
  }
  queue_.Shutdown();
  while (next()) {
  }
}

void Client::BlobStream::write(size_t offset, std::string_view piece) {
  content::WriteContentRequest request;
  request.set_action(content::WRITE);
  request.set_ref(ref_);
  request.set_offset(static_cast<int64_t>(offset));
  request.set_data(std::string(piece));
  round_trip(request, "write");
}

void Client::BlobStream::commit() {
  content::WriteContentRequest request;
  request.set_action(content::COMMIT);
  request.set_ref(ref_);
  request.set_offset(static_cast<int64_t>(size_));
  request.set_total(static_cast<int64_t>(size_));
  request.set_expected(digest_);
  (*request.mutable_labels())["containerd.io/gc.root"] = "bench";
  round_trip(request, "commit");
  stream_->WritesDone(nullptr);
  next();
  // The status comes after the last message, so what may still be on its way has to be read.
  grpc::ByteBuffer ignored;
  do {
    stream_->Read(&ignored, nullptr);
  } while (next());
  grpc::Status status;
  stream_->Finish(&status, nullptr);
  next();
  finished_ = true;
  if (!status.ok()) {
    throw std::runtime_error("Content.Write of " + digest_ + ", end: " + status.error_message());
  }
}

void Client::BlobStream::round_trip(const content::WriteContentRequest& request, const char* what) {
  stream_->Write(to_buffer(request), nullptr);
  if (!next()) fail(what);
  grpc::ByteBuffer answer;
  stream_->Read(&answer, nullptr);
  if (!next()) fail(what);
  content::WriteContentResponse response;
  if (!parse(answer, &response) || response.action() != request.action()) {
    context_.TryCancel();  // a stream that goes on has no status
    fail(what);
  }
}

bool Client::BlobStream::next() {
  void* tag = nullptr;
  bool ok = false;
  return queue_.Next(&tag, &ok) && ok;
}

void Client::BlobStream::fail(const char* what) {
  grpc::Status status;
  stream_->Finish(&status, nullptr);
  next();
  finished_ = true;
  throw std::runtime_error("Content.Write of " + digest_ + ", " + what + ": " +
                           status.error_message());
}

}  // namespace berth::bench
