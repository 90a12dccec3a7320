#include <berth/plugin.h>

#include "proto/places.berth.h"

namespace {

namespace v1 = example::places::v1;

class Places final : public v1::PlacesService {
 public:
  static berth::Result<std::unique_ptr<Places>> create(const berth::Self&) {
    return std::make_unique<Places>();
  }

  berth::Status Visit(berth::Context&, const v1::VisitRequest& request,
                      v1::VisitResponse* response) override {
    if (request.mount().source().empty()) {
      return berth::invalid_argument("visit: the mount has no source: say where");
    }
    *response->mutable_mount() = request.mount();
    response->mutable_at()->set_seconds(1);
    return {};
  }
};

BERTH_PLUGIN("io.containerd.grpc.v1", "uses-messages", Places);

}  // namespace
