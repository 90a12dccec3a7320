// The service: layers from the content store onto mounts, and the difference of mounts into the content store.
#pragma once

#include "containerd/services/content/v1/content.berth.h"
#include "containerd/services/diff/v1/diff.berth.h"

namespace @ident@_plugin {

namespace diff_api = containerd::services::diff::v1;
namespace content_api = containerd::services::content::v1;

/// Calls come from any thread, several at once; each may block.
class @Class@ : public diff_api::DiffService {
 public:
  /// `folder`: an existing directory for mount points.
  @Class@(content_api::ContentClient content, std::string folder) : content_(std::move(content)), folder_(std::move(folder)) {}

  berth::Status Apply(berth::Context& context, const diff_api::ApplyRequest& request,
                      diff_api::ApplyResponse* response) override;
  berth::Status Diff(berth::Context& context, const diff_api::DiffRequest& request,
                     diff_api::DiffResponse* response) override;

 private:
  berth::Result<std::string> read_blob(const berth::Context& context, const std::string& digest) const;
  berth::Status store_blob(const berth::Context& context, const std::string& ref, const std::string& blob,
                           const std::map<std::string, std::string>& labels) const;

  const content_api::ContentClient content_;
  const std::string folder_;
};

}  // namespace @ident@_plugin
