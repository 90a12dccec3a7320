// Info answers with about 357 bytes; Read sends as many pieces of 1 MiB as its size asks for.
#include <berth/plugin.h>

#include "containerd/services/content/v1/content.berth.h"

namespace {

namespace content = containerd::services::content::v1;

class Bench final : public content::ContentService {
 public:
  static berth::Result<std::unique_ptr<Bench>> create(const berth::Self&) {
    return std::make_unique<Bench>();
  }
  berth::Status Info(berth::Context&, const content::InfoRequest& request,
                     content::InfoResponse* response) override {
    content::Info* info = response->mutable_info();
    info->set_size(1 << 20);
    info->set_digest(request.digest());
    (*info->mutable_labels())["label"] = std::string(120, 'r');
    return {};
  }
  berth::Status Read(berth::Context&, const content::ReadContentRequest& request,
                     berth::ServerWriter<content::ReadContentResponse>& writer) override {
    content::ReadContentResponse piece;
    piece.set_data(std::string(1 << 20, 'x'));
    for (int64_t sent = 0; sent < request.size(); sent += 1 << 20) {
      piece.set_offset(sent);
      if (!writer.Write(piece)) break;
    }
    return {};
  }
};

}  // namespace

BERTH_PLUGIN("io.containerd.content.v1", "bench", Bench);
