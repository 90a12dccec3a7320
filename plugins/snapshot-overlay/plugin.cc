#include <berth/file_tree.h>
#include <berth/plugin.h>

#include <nlohmann/json.hpp>

#include "overlay.h"

namespace berth::overlay {
namespace {

std::string root_of(const Self& self) {
  const std::string_view configured = self.config("root_path");
  return std::string(configured.empty() ? self.property("root") : configured);
}

Result<std::vector<std::string>> mount_options_of(const Self& self) {
  const auto list = nlohmann::json::parse(self.config("mount_options"), nullptr, false);
  std::vector<std::string> options;
  if (!list.is_array()) return options;
  for (const auto& option : list) {
    if (!option.is_string()) {
      return invalid_argument("mount_options: " + option.dump() +
                              " is not a text; wanted is a list such as [\"volatile\"]");
    }
    options.push_back(option.get<std::string>());
  }
  return options;
}

class Plugin final : public Overlay {
 public:
  using Overlay::Overlay;

  static Status probe(const Self& self) {
    const std::string root = root_of(self);
    BERTH_RETURN_IF_ERROR(make_directories(root, 0700));
    return check_support(root);
  }

  static Result<std::unique_ptr<Plugin>> create(const Self& self) {
    Options options;
    options.common.root = root_of(self);
    options.common.sync = self.config_bool("sync");
    options.common.sync_remove = self.config_bool("sync_remove");
    options.common.spawn = [self](std::function<void()> work) {
      return self.spawn(std::move(work));
    };
    options.common.warn = [self](std::string_view text) { self.warn(text); };
    options.upperdir_label = self.config_bool("upperdir_label");
    options.remap_ids = supports_idmapped_layers();
    BERTH_ASSIGN_OR_RETURN(options.mount_options, mount_options_of(self));
    auto plugin = std::make_unique<Plugin>(std::move(options));
    BERTH_RETURN_IF_ERROR(plugin->open());
    return plugin;
  }
};

BERTH_PLUGIN("io.containerd.snapshotter.v1", "overlayfs", Plugin);

}  // namespace
}  // namespace berth::overlay
