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
    const std::string_view root = self.config("root_path");
    BERTH_ASSIGN_OR_RETURN(auto store,
                           Store::open(std::string(root.empty() ? self.property("root") : root)));
    return std::make_unique<Plugin>(std::move(store));
  }
};

BERTH_PLUGIN("io.containerd.content.v1", "@name@", Plugin);

}  // namespace
}  // namespace @ident@_plugin
