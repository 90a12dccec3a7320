// A client of containerd's API, the same for every daemon.
#pragma once

#include <google/protobuf/message_lite.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

namespace containerd::services::content::v1 {
class WriteContentRequest;
}

namespace berth::bench {

/// One connection. One thread. Every function throws std::runtime_error, which names the method,
/// when the daemon refuses or does not answer in time: a bench has nothing better to do than to
/// give the row up.
class Client {
 public:
  /// `space` is the namespace of every call.
  Client(const std::string& address, const std::string& space);

  const std::string& space() const { return space_; }

  /// Whether Version is answered within a second.
  bool answers();

  /// One unary call; `method` is "/package.Service/Method".
  template <typename Response>
  Response call(const char* method, const google::protobuf::MessageLite& request) {
    Response response;
    exchange(method, request, &response, 60'000);
    return response;
  }

  /// One blob, committed: the stream that `ctr` opens, with pieces of 1 MiB, each answered before
  /// the next is sent. `data(offset, size)` gives the bytes; they stay valid until it is asked
  /// again. The blob is a root for the garbage collector.
  template <typename Data>
  void write_blob(const std::string& digest, size_t size, Data&& data) {
    BlobStream stream(this, digest, size);
    for (size_t offset = 0; offset < size; offset += kPieceBytes) {
      stream.write(offset, data(offset, std::min(kPieceBytes, size - offset)));
    }
    stream.commit();
  }
  void write_blob(const std::string& digest, std::string_view bytes) {
    write_blob(digest, bytes.size(),
               [&](size_t offset, size_t size) { return bytes.substr(offset, size); });
  }

  static constexpr size_t kPieceBytes = 1 << 20;  // of containerd's client

 private:
  class BlobStream {
   public:
    BlobStream(Client* client, const std::string& digest, size_t size);
    ~BlobStream();
    void write(size_t offset, std::string_view piece);
    void commit();

   private:
    void round_trip(const containerd::services::content::v1::WriteContentRequest& request,
                    const char* what);
    bool next();
    [[noreturn]] void fail(const char* what);

    Client* client_;
    const std::string digest_, ref_;
    const size_t size_;
    grpc::ClientContext context_;
    grpc::CompletionQueue queue_;
    std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
    bool finished_ = false;
  };

  void prepare(grpc::ClientContext* context, int timeout_ms) const;
  void exchange(const char* method, const google::protobuf::MessageLite& request,
                google::protobuf::MessageLite* response, int timeout_ms);

  const std::string space_;
  std::shared_ptr<grpc::Channel> channel_;
  grpc::GenericStub stub_;
  grpc::CompletionQueue queue_;
};

}  // namespace berth::bench
