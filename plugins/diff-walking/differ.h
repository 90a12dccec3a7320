// containerd.services.diff.v1.Diff over the content store of the caller's namespace.
#pragma once

#include <string>

#include "containerd/services/content/v1/content.berth.h"
#include "containerd/services/diff/v1/diff.berth.h"
#include "decompress.h"

namespace berth::diff_walking {

/// Whether Apply takes a layer of this media type: OCI and docker layers, plain or compressed,
/// foreign ones included.
bool is_layer_media_type(std::string_view media_type);

/// What Diff makes for a media type; empty stands for gzip. UNIMPLEMENTED for all but the OCI layer
/// types.
Result<Compression> compression_of_media_type(std::string_view media_type);

struct DifferOptions {
  /// An existing directory for mount points.
  std::string temp_dir;
  /// Flush the file system after each Apply, also when the request does not ask for it.
  bool sync = true;
};

/// Any thread. Handlers block.
class Differ : public containerd::services::diff::v1::DiffService {
 public:
  Differ(containerd::services::content::v1::ContentClient content, DifferOptions options)
      : content_(std::move(content)), options_(std::move(options)) {}

  Status Apply(Context& context, const containerd::services::diff::v1::ApplyRequest& request,
               containerd::services::diff::v1::ApplyResponse* response) override;
  Status Diff(Context& context, const containerd::services::diff::v1::DiffRequest& request,
              containerd::services::diff::v1::DiffResponse* response) override;

 private:
  Status set_uncompressed_label(const Context& context, const std::string& blob,
                                const std::string& layer);

  containerd::services::content::v1::ContentClient content_;
  DifferOptions options_;
};

}  // namespace berth::diff_walking
