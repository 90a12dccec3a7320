// Registration: from configuration to the class. No logic here.
#include <berth/plugin.h>

#include "@ident@.h"

namespace @ident@_plugin {
namespace {

class Plugin final : public @Class@ {
 public:
  using @Class@::@Class@;

  /// Runs once, before any call. What it returns as an error is what the administrator reads.
  static berth::Result<std::unique_ptr<Plugin>> create(const berth::Self& self) {
    berth::SnapshotterOptions options;
    const std::string_view root = self.config("root_path");
    options.root = root.empty() ? self.property("root") : root;
    options.spawn = [self](std::function<void()> work) { return self.spawn(std::move(work)); };
    options.warn = [self](std::string_view text) { self.warn(text); };
    auto plugin = std::make_unique<Plugin>(std::move(options));
    BERTH_RETURN_IF_ERROR(plugin->open());
    return plugin;
  }
};

BERTH_PLUGIN("io.containerd.snapshotter.v1", "@name@", Plugin);

}  // namespace
}  // namespace @ident@_plugin
