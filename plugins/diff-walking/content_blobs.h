// Blobs of the content store as streams.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "byte_source.h"
#include "containerd/services/content/v1/content.berth.h"

namespace berth::diff_walking {

/// A blob to be read from its start. The store hands over a descriptor where it can; otherwise the
/// bytes come in messages. NOT_FOUND, at the latest with the first piece, when the namespace of
/// `context` has no such blob. Stops with CANCELLED when the call behind `context` is; used while
/// that call is under way.
Result<std::unique_ptr<ByteSource>> open_blob(
    const Context& context, const containerd::services::content::v1::ContentClient& content,
    const std::string& digest);

/// A blob that is being written. One thread at a time. When it is destroyed before commit() the
/// ingest stays.
class BlobWriter final : public ByteSink {
 public:
  /// Takes the ingest `ref`; UNAVAILABLE when somebody else writes to it. What it may hold already
  /// is overwritten.
  static Result<std::unique_ptr<BlobWriter>> open(
      const Context& context, const containerd::services::content::v1::ContentClient& content,
      std::string ref);

  Status write(std::span<const std::byte> bytes) override;
  /// Forgets all bytes.
  void restart();
  /// Makes the bytes a blob. That it exists already is success as well.
  Status commit(const std::string& digest, uint64_t size,
                const std::map<std::string, std::string>& labels);

 private:
  using Request = containerd::services::content::v1::WriteContentRequest;
  using Response = containerd::services::content::v1::WriteContentResponse;

  BlobWriter(ClientStream<Request, Response> stream, std::string ref)
      : stream_(std::move(stream)), ref_(std::move(ref)) {}
  Status exchange(const Request& request);
  Status flush();

  ClientStream<Request, Response> stream_;
  std::string ref_;
  std::string pending_;
  int64_t offset_ = 0;
};

}  // namespace berth::diff_walking
