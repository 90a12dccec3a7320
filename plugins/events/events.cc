#include "events.h"

namespace berth::events {
namespace {

// A Subscribe call that is kept until its subscriber goes.
class CallSink final : public Sink {
 public:
  explicit CallSink(ServerCall call) : call_(std::move(call)) {}

  Outcome send(const std::string& event) override {
    switch (call_.send(Message::copy_of(event), /*timeout_ns=*/0)) {
      case BERTH_OK:
        return Outcome::kSent;
      case BERTH_AGAIN:
        return Outcome::kFull;
      default:
        return Outcome::kGone;
    }
  }
  void when_writable(std::function<void()> run) override {
    on_writable_ = std::move(run);
    call_.on_ready(
        BERTH_WRITABLE, [](void* self) { take (&static_cast<CallSink*>(self)->on_writable_)(); },
        this);
  }
  void when_gone(std::function<void()> run) override {
    on_gone_ = std::move(run);
    call_.on_cancel([](void* self) { take (&static_cast<CallSink*>(self)->on_gone_)(); }, this);
  }
  void finish(const Status& status) override {
    call_.finish(status);
    // They hold the subscription that owns this sink. One of them may be this very thread's, and
    // was taken out then.
    on_writable_ = nullptr;
    on_gone_ = nullptr;
  }

 private:
  static std::function<void()> take(std::function<void()>* callback) {
    return std::exchange(*callback, nullptr);
  }

  ServerCall call_;
  std::function<void()> on_writable_;
  std::function<void()> on_gone_;
};

}  // namespace

Status EventsService::Publish(Context& context, const api::PublishRequest& request,
                              google::protobuf::Empty*) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, context.require_ns());
  return exchange_.publish(ns, request.topic(), request.event())
      .with_context("failed publishing event");
}

Status EventsService::Forward(Context&, const api::ForwardRequest& request,
                              google::protobuf::Empty*) {
  return exchange_.forward(request.envelope()).with_context("failed forwarding event");
}

void EventsService::SubscribeCall(ServerCall call) {
  api::SubscribeRequest request;
  if (const Status parsed = call.parse_request(&request); !parsed.ok()) return call.finish(parsed);
  Result<FilterSet> filters = FilterSet::parse(request.filters());
  if (!filters.ok())
    return call.finish(filters.status().with_context("failed parsing subscription filters"));
  exchange_.subscribe(std::move(*filters), std::make_unique<CallSink>(std::move(call)));
}

}  // namespace berth::events
