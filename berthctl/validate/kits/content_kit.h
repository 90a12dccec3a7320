// What the cases of the content kit have in common: a store behind its service, and what a client
// of it does. They know nothing of how a store keeps its blobs.
#pragma once

#include <berth/digest.h>

#include <filesystem>
#include <functional>

#include "containerd/services/content/v1/content.berth.h"
#include "validate/fixture.h"

namespace berth::ctl::validate {

namespace content_api = containerd::services::content::v1;

/// Bytes that differ from place to place; as many as wanted, the same for the same seed.
std::string pattern(size_t size, uint32_t seed = 1);

/// One call of Write. Each request is answered before the next is sent.
class BlobWriter {
 public:
  using Response = content_api::WriteContentResponse;
  using Labels = std::map<std::string, std::string>;

  BlobWriter(const content_api::ContentClient& client, std::string ref)
      : ref_(std::move(ref)), stream_(client.Write(Context())) {}

  Status stat(const std::string& expected = {}, int64_t total = 0);
  Status write(std::string_view data, int64_t offset);
  /// At the offset that the last answer told.
  Status append(std::string_view data) { return write(data, last_.offset()); }
  Status commit(const std::string& expected, int64_t total, const Labels& labels = {});
  /// Ends the call as a client does that goes away properly.
  Status close();
  const Response& last() const { return last_; }

 private:
  Status ask(content_api::WriteContentRequest request);

  const std::string ref_;
  ClientStream<content_api::WriteContentRequest, Response> stream_;
  Response last_;
};

class ContentKit : public PluginCase {
 protected:
  void SetUp() override;
  void TearDown() override;

  /// Stops and starts it on the same directory. False: the case is over, skipped or failed.
  bool restart();

  /// Writes and commits a blob as clients do; gives its digest.
  Status put(const std::string& ref, std::string_view bytes, const BlobWriter::Labels& labels = {});
  /// A writer of a ref that may still be held by one who has just gone: tries for some seconds.
  std::unique_ptr<BlobWriter> take(const std::string& ref);
  /// Writes some bytes of an ingest and goes away.
  void leave(const std::string& ref, std::string_view bytes);
  Result<std::string> read(const std::string& digest, int64_t offset = 0, int64_t size = 0) {
    return read_from(client_, digest, offset, size);
  }
  static Result<std::string> read_from(const content_api::ContentClient& client,
                                       const std::string& digest, int64_t offset = 0,
                                       int64_t size = 0);
  Result<content_api::Info> info(const std::string& digest);
  Status remove(const std::string& digest);
  Status abort(const std::string& ref);
  Result<content_api::Status> status(const std::string& ref);
  Result<std::vector<std::string>> list(const std::vector<std::string>& filters = {});
  Result<std::vector<std::string>> refs(const std::vector<std::string>& filters = {});

  void expect_blob(const std::string& digest, std::string_view bytes);
  void expect_absent(const std::string& digest);
  /// Files below the plugin's directories that hold these bytes.
  std::vector<std::filesystem::path> files_with(std::string_view bytes) const;

  std::string directory_;
  content_api::ContentClient client_;
};

#define RESTART_OR_RETURN()                    \
  if (!restart()) {                            \
    if (!skip_.empty()) GTEST_SKIP() << skip_; \
    return;                                    \
  }

}  // namespace berth::ctl::validate
