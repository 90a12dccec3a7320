// A content store in memory: what a differ under test reads from and writes to.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include "containerd/services/content/v1/content.berth.h"

namespace berth::ctl::validate {

/// Any thread.
class MemoryContent final : public containerd::services::content::v1::ContentService {
 public:
  using Labels = std::map<std::string, std::string>;
  struct Blob {
    std::string bytes;
    Labels labels;
  };

  /// Gives the digest; `under`: another one, under which they shall be found.
  std::string add(const std::string& bytes, const std::string& under = {});
  Blob get(const std::string& digest);
  /// Of ingests that were begun and neither committed nor aborted.
  std::set<std::string> ingests();
  /// From now on nothing is taken in any more.
  void be_full() { full_ = true; }

  berth::Status Info(Context&, const containerd::services::content::v1::InfoRequest& request,
                     containerd::services::content::v1::InfoResponse* response) override;
  berth::Status Update(Context&, const containerd::services::content::v1::UpdateRequest& request,
                       containerd::services::content::v1::UpdateResponse* response) override;
  berth::Status Read(
      Context&, const containerd::services::content::v1::ReadContentRequest& request,
      ServerWriter<containerd::services::content::v1::ReadContentResponse>& writer) override;
  berth::Status Write(
      Context&,
      ServerStream<containerd::services::content::v1::WriteContentRequest,
                   containerd::services::content::v1::WriteContentResponse>& stream) override;
  berth::Status Abort(Context&, const containerd::services::content::v1::AbortRequest& request,
                      google::protobuf::Empty*) override;

 private:
  berth::Status commit(const containerd::services::content::v1::WriteContentRequest& request);

  std::atomic<bool> full_ = false;
  std::mutex mutex_;  // guards what follows
  std::map<std::string, Blob> blobs_;
  std::map<std::string, std::string> ingests_;  // bytes, by ref
};

}  // namespace berth::ctl::validate
