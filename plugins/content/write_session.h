// One Content.Write stream: what each of its messages does, and what is answered.
#pragma once

#include "containerd/services/content/v1/content.pb.h"
#include "ingest.h"

namespace berth::content {

/// A WriteContentRequest as it came in, its data apart from the rest and not copied.
struct WriteMessage {
  containerd::services::content::v1::WriteContentRequest request;  // without data
  std::string_view data;                                           // borrowed from the message

  /// INVALID_ARGUMENT for bytes that are no such message.
  static Result<WriteMessage> parse(std::string_view bytes);
};

/// One thread at a time. Ends the ingest's lock when destroyed; what was written stays.
class WriteSession {
 public:
  explicit WriteSession(Store& store) : store_(store) {}

  /// Handles the next message. The first one names the ref. An error ends the stream.
  Status handle(const WriteMessage& message,
                containerd::services::content::v1::WriteContentResponse* response);
  /// After it there is nothing more to say.
  bool committed() const { return committed_; }

 private:
  using Request = containerd::services::content::v1::WriteContentRequest;

  Status open(const Request& request);
  Status expect(const Request& request);
  Status write(const WriteMessage& message);

  Store& store_;
  std::unique_ptr<Ingest> ingest_;
  int64_t total_ = 0;
  std::optional<Digest> expected_;
  bool committed_ = false;
};

}  // namespace berth::content
