// io.containerd.content.v1.content
#include <berth/plugin.h>

#include "content.h"

namespace {

class ContentPlugin final : public berth::content::ContentService {
 public:
  using ContentService::ContentService;

  static berth::Result<std::unique_ptr<ContentPlugin>> create(const berth::Self& self) {
    const std::string_view configured = self.config("root_path");
    const std::string root(configured.empty() ? self.property("root") : configured);
    BERTH_ASSIGN_OR_RETURN(
        auto store,
        berth::content::Store::open(root, [self](const std::string& line) { self.warn(line); }));
    return std::make_unique<ContentPlugin>(std::move(store));
  }
};

BERTH_PLUGIN("io.containerd.content.v1", "content", ContentPlugin);

}  // namespace
