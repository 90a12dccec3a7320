// io.containerd.differ.v1.walking
#include <berth/plugin.h>

#include "differ.h"
#include "mount.h"

namespace {

using containerd::services::content::v1::ContentClient;

class WalkingDiffer final : public berth::diff_walking::Differ {
 public:
  using Differ::Differ;

  static berth::Result<std::unique_ptr<WalkingDiffer>> create(const berth::Self& self) {
    berth::diff_walking::DifferOptions options;
    options.temp_dir = self.property("state");
    options.sync = self.config("sync_fs") != "false";
    BERTH_RETURN_IF_ERROR(berth::diff_walking::remove_stale_mount_points(options.temp_dir));
    return std::make_unique<WalkingDiffer>(self.connect_to<ContentClient>("content"),
                                           std::move(options));
  }
};

BERTH_PLUGIN("io.containerd.differ.v1", "walking", WalkingDiffer);

}  // namespace
