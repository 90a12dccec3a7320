// A content store that is right but in one thing, which its configuration names; the kit has to
// find it. "none": in nothing.
#include <berth/plugin.h>

#include <chrono>
#include <thread>

#include "content.h"
#include "write_session.h"

namespace {

namespace content = berth::content;
namespace api = content::api;

class WrongContent final : public content::ContentService {
 public:
  /// `kept` is `store`, which the base class takes.
  WrongContent(content::Store* kept, std::unique_ptr<content::Store> store, std::string mistake)
      : ContentService(std::move(store)), store_(kept), mistake_(std::move(mistake)) {}

  static berth::Result<std::unique_ptr<WrongContent>> create(const berth::Self& self) {
    BERTH_ASSIGN_OR_RETURN(
        auto store, content::Store::open(std::string(self.property("root")),
                                         [self](const std::string& line) { self.warn(line); }));
    content::Store* const kept = store.get();
    return std::make_unique<WrongContent>(kept, std::move(store),
                                          std::string(self.config("mistake")));
  }

  berth::Status Read(berth::Context& context, const api::ReadContentRequest& request,
                     berth::ServerWriter<api::ReadContentResponse>& writer) override {
    api::ReadContentRequest changed = request;
    if (mistake_ == "reads-on") changed.set_size(0);
    return ContentService::Read(context, changed, writer);
  }

  berth::Status List(berth::Context& context, const api::ListContentRequest& request,
                     berth::ServerWriter<api::ListContentResponse>& writer) override {
    if (mistake_ == "fails-to-list") return berth::internal_error("the list is lost");
    return ContentService::List(
        context, mistake_ == "lists-all" ? api::ListContentRequest() : request, writer);
  }

  berth::Status Write(
      berth::Context&,
      berth::ServerStream<api::WriteContentRequest, api::WriteContentResponse>& stream) override {
    content::WriteSession session(*store_);
    berth::Message message;
    int64_t offset = 0;
    bool first = true;
    while (!session.committed() && stream.call().recv(&message) == BERTH_OK) {
      BERTH_ASSIGN_OR_RETURN(content::WriteMessage write,
                             content::WriteMessage::parse(message.bytes()));
      if (mistake_ == "unchecked") {
        write.request.clear_expected();
        write.request.clear_total();
      }
      if (mistake_ == "appends-anywhere" && !first) write.request.set_offset(offset);
      if (mistake_ == "begins-anew" && first) (void)store_->abort(write.request.ref());
      first = false;
      api::WriteContentResponse response;
      const bool early =
          mistake_ == "acknowledges-early" && write.request.action() == api::WriteAction::COMMIT;
      if (early) {
        response.set_action(write.request.action());
        if (!stream.Write(response)) return berth::cancelled("the caller is gone");
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
      }
      BERTH_RETURN_IF_ERROR(session.handle(write, &response));
      offset = response.offset();
      if (!early && !stream.Write(response)) return berth::cancelled("the caller is gone");
    }
    return {};
  }

 private:
  content::Store* const store_;
  const std::string mistake_;
};

BERTH_PLUGIN("io.containerd.content.v1", "wrong", WrongContent);

}  // namespace
