#include <berth/file_tree.h>
#include <berth/plugin.h>

#include "btrfs.h"

namespace berth::btrfs {
namespace {

std::string root_of(const Self& self) {
  const std::string_view configured = self.config("root_path");
  return std::string(configured.empty() ? self.property("root") : configured);
}

class Plugin final : public Btrfs {
 public:
  using Btrfs::Btrfs;

  static Status probe(const Self& self) {
    const std::string root = root_of(self);
    BERTH_RETURN_IF_ERROR(make_directories(root, 0700));
    return check_support(root);
  }

  static Result<std::unique_ptr<Plugin>> create(const Self& self) {
    SnapshotterOptions options;
    options.root = root_of(self);
    options.sync_remove = self.config_bool("sync_remove");
    options.spawn = [self](std::function<void()> work) { return self.spawn(std::move(work)); };
    options.warn = [self](std::string_view text) { self.warn(text); };
    auto plugin = std::make_unique<Plugin>(std::move(options));
    BERTH_RETURN_IF_ERROR(plugin->open());
    return plugin;
  }
};

BERTH_PLUGIN("io.containerd.snapshotter.v1", "btrfs", Plugin);

}  // namespace
}  // namespace berth::btrfs
