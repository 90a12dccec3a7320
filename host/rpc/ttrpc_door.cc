#include "rpc/ttrpc_door.h"

#include <berth/context.h>
#include <berth/ttrpc.h>

#include <algorithm>

#include "bus/call.h"
#include "bus/workers.h"
#include "rpc/error_class.h"
#include "rpc/socket.h"

namespace berth::rpc {
namespace {

constexpr std::string_view kTtrpcNamespace = "containerd-namespace-ttrpc";

bus::Headers::Shared to_headers(const ttrpc::Metadata& metadata) {
  bus::Headers::List list;
  for (const auto& [key, value] : metadata) {
    std::string name(key);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    if (name.starts_with("berth-")) continue;  // ABI rule 13
    if (name == kTtrpcNamespace) name = kNamespaceHeader;
    list.emplace_back(std::move(name), value);
  }
  return std::make_shared<const bus::Headers>(std::move(list));
}

/// One request: the client end of a bus call, answered through the responder. Held by the callbacks
/// that are armed, and by the connection until the answer.
class Carrier : public std::enable_shared_from_this<Carrier> {
 public:
  Carrier(bus::CallRef call, ttrpc::Responder responder, bool one_response)
      : call_(std::move(call)), responder_(std::move(responder)), one_response_(one_response) {}
  ~Carrier() { call_->client_release(); }

  void begin(ttrpc::Request request, bool client_stream) {
    responder_.on_abandoned([self = shared_from_this()] {
      self->call_->end(cancelled("the client closed its connection"));
    });
    if (client_stream) {
      responder_.on_data([self = shared_from_this()](ttrpc::Data data) {
        if (data.has_message) self->pass_request(data.payload);
        if (data.end) self->call_->client_half_close();
      });
      if (!request.payload.empty()) pass_request(request.payload);
    } else {
      pass_request(request.payload);
      call_->client_half_close();
    }
    wait_for_response();
  }

 private:
  void pass_request(std::string_view payload) {
    berth_message message{};
    message.body = {payload.data(), payload.size(), nullptr, nullptr, 0};
    if (call_->client_send(message, 0) == BERTH_AGAIN) {
      call_->end(resource_exhausted("ttrpc client stream: " + call_->describe() +
                                    " does not read its requests"));
    }
  }

  void wait_for_response() {
    auto* held = new std::shared_ptr<Carrier>(shared_from_this());  // freed by the callback
    call_->client_on_ready(
        BERTH_READABLE | BERTH_INLINE,
        [](void* context) {
          const std::unique_ptr<std::shared_ptr<Carrier>> self(
              static_cast<std::shared_ptr<Carrier>*>(context));
          (*self)->pass_response();
        },
        held);
  }

  void pass_response() {
    while (true) {
      berth_message raw{};
      const int32_t outcome = call_->client_recv(0, &raw);
      if (outcome == BERTH_AGAIN) return wait_for_response();
      if (outcome == BERTH_END)
        return responder_.finish(with_class(*call_->status()), answer_.bytes());
      Message response(raw);
      if (one_response_) {
        answer_ = std::move(response);
      } else if (!responder_.send(response.bytes()).ok()) {
        call_->end(cancelled("the client does not take its responses"));
      }
    }
  }

  bus::CallRef call_;
  ttrpc::Responder responder_;
  const bool one_response_;
  Message answer_;
};

void serve(const Router& router, ttrpc::Request request, ttrpc::Responder responder) {
  const auto route = router.find(request.service + "/" + request.method);
  if (!route.ok()) return responder.finish(route.status());
  bus::CallSettings settings;
  settings.headers = to_headers(request.metadata);
  if (request.timeout_ns > 0) settings.deadline = monotonic_now() + request.timeout_ns;
  settings.peer = {sizeof(berth_peer), 1, request.peer.pid, request.peer.uid, request.peer.gid};
  const bus::Method* method = route->target->method(route->method);
  const bus::EventScope scope;
  auto carrier =
      std::make_shared<Carrier>(bus::Call::open(*route->target, route->method, std::move(settings)),
                                std::move(responder), !method->server_stream());
  carrier->begin(std::move(request), method->client_stream());
}

class OpenTtrpcDoor final : public TtrpcDoor {
 public:
  explicit OpenTtrpcDoor(std::string address) : address_(std::move(address)) {}
  ~OpenTtrpcDoor() override {
    server_.reset();
    ::unlink(address_.c_str());
  }
  Status start(UniqueFd listener, const Router& router) {
    BERTH_ASSIGN_OR_RETURN(loop_, ttrpc::Loop::start());
    BERTH_ASSIGN_OR_RETURN(
        server_,
        ttrpc::Server::serve(loop_, std::move(listener),
                             [&router](ttrpc::Request request, ttrpc::Responder responder) {
                               serve(router, std::move(request), std::move(responder));
                             }));
    return {};
  }
  void close() override { server_->stop_accepting(); }

 private:
  std::string address_;
  std::shared_ptr<ttrpc::Loop> loop_;
  std::unique_ptr<ttrpc::Server> server_;
};

}  // namespace

Result<std::unique_ptr<TtrpcDoor>> TtrpcDoor::open(const std::string& address, uint32_t uid,
                                                   uint32_t gid, const Router& router) {
  BERTH_ASSIGN_OR_RETURN(UniqueFd listener, listen_unix(address, uid, gid));
  auto door = std::make_unique<OpenTtrpcDoor>(address);
  BERTH_RETURN_IF_ERROR(door->start(std::move(listener), router));
  return std::unique_ptr<TtrpcDoor>(std::move(door));
}

}  // namespace berth::rpc
