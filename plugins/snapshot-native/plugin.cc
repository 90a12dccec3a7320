#include <berth/plugin.h>

#include "native.h"

namespace berth::native {
namespace {

class Plugin final : public Native {
 public:
  using Native::Native;

  static Result<std::unique_ptr<Plugin>> create(const Self& self) {
    SnapshotterOptions options;
    const std::string_view root = self.config("root_path");
    options.root = root.empty() ? self.property("root") : root;
    options.sync = self.config_bool("sync");
    options.sync_remove = self.config_bool("sync_remove");
    options.spawn = [self](std::function<void()> work) { return self.spawn(std::move(work)); };
    options.warn = [self](std::string_view text) { self.warn(text); };
    auto plugin = std::make_unique<Plugin>(std::move(options));
    BERTH_RETURN_IF_ERROR(plugin->open());
    return plugin;
  }
};

BERTH_PLUGIN("io.containerd.snapshotter.v1", "native", Plugin);

}  // namespace
}  // namespace berth::native
