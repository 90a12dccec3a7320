#include "rpc/grpc_door.h"

#include <berth/context.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "bus/call.h"
#include "bus/workers.h"
#include "rpc/error_class.h"
#include "rpc/socket.h"

namespace berth::rpc {
namespace {

grpc::Status to_grpc(const Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(status.code()), with_class(status).message(),
          status.details()};
}

/// The bytes of `buffer` as a message that owns them, without a copy where gRPC has them in one
/// piece.
berth_message to_message(grpc::ByteBuffer& buffer) {
  auto slice = std::make_unique<grpc::Slice>();
  if (!buffer.TrySingleSlice(slice.get()).ok()) (void)buffer.DumpToSingleSlice(slice.get());
  berth_message message{};
  message.body.data = slice->begin();
  message.body.size = slice->size();
  message.body.release = [](void* owner) { delete static_cast<grpc::Slice*>(owner); };
  message.body.owner = slice.release();
  return message;
}

/// The message's bytes as a buffer that releases it; takes the message.
grpc::ByteBuffer to_buffer(Message message) {
  auto* owner = new Message(std::move(message));
  grpc::Slice slice(
      owner->data(), owner->bytes().size(), [](void* held) { delete static_cast<Message*>(held); },
      owner);
  return grpc::ByteBuffer(&slice, 1);
}

bus::Headers::Shared to_headers(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata) {
  bus::Headers::List list;
  for (const auto& [key, value] : metadata) {
    const std::string_view name(key.data(), key.size());
    if (name.starts_with("berth-")) continue;  // ABI rule 13
    list.emplace_back(name, std::string_view(value.data(), value.size()));
  }
  return std::make_shared<const bus::Headers>(std::move(list));
}

int64_t to_deadline(gpr_timespec deadline) {
  if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) return BERTH_FOREVER;
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  return monotonic_now() + left.tv_sec * 1'000'000'000LL + left.tv_nsec;
}

/// How many RPCs are under way, those that wait for their status to be sent included. Any thread.
class UnderWay {
 public:
  void begin() { ++count_; }
  void end() {
    const std::lock_guard lock(mutex_);  // so that nobody who waits returns while this is in use
    if (--count_ == 0) idle_.notify_all();
  }
  /// Returns when there is none, or at `deadline`.
  void wait_for_none(std::chrono::steady_clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    idle_.wait_until(lock, deadline, [this] { return count_ == 0; });
  }

 private:
  std::atomic<int64_t> count_{0};
  std::mutex mutex_;
  std::condition_variable idle_;
};

/// One RPC: the client end of a bus call on one side, gRPC's reactor on the other. Everything that
/// it does is started by a callback of one of them; deletes itself in OnDone.
class Carrier final : public grpc::ServerGenericBidiReactor {
 public:
  Carrier(grpc::GenericCallbackServerContext* context, const Router& router, UnderWay& under_way)
      : under_way_(under_way) {
    under_way_.begin();
    Result<Route> route = router.find(context->method());
    if (!route.ok()) {
      Finish(to_grpc(route.status()));
      return;
    }
    bus::CallSettings settings;
    settings.headers = to_headers(context->client_metadata());
    settings.deadline = to_deadline(context->raw_deadline());
    const bus::Method* method = route->target->method(route->method);
    one_request_ = !method->client_stream();
    one_response_ = !method->server_stream();
    const bus::EventScope scope;
    call_ = bus::Call::open(*route->target, route->method, std::move(settings));
    StartRead(&incoming_);
    wait_for_response();
  }

  void OnReadDone(bool ok) override {
    const bus::EventScope scope;
    if (!ok) {
      call_->client_half_close();
      return;
    }
    request_ = Message(to_message(incoming_));
    incoming_.Clear();
    pass_request();
  }

  void OnWriteDone(bool ok) override {
    const bus::EventScope scope;
    if (!ok) {
      cancel();
      return;  // OnDone follows; the status has been or will be given by wait_for_response
    }
    wait_for_response();
  }

  void OnCancel() override {
    const bus::EventScope scope;
    if (call_) cancel();
  }

  void OnDone() override {
    const bus::EventScope scope;
    if (call_) call_->client_release();
    UnderWay& under_way = under_way_;
    delete this;
    under_way.end();
  }

 private:
  void cancel() { call_->end(cancelled("the client cancelled the call")); }

  /// Hands request_ to the bus, now or when there is room.
  void pass_request() {
    const int32_t outcome = call_->client_send(request_.raw(), 0);
    if (outcome == BERTH_AGAIN) {
      call_->client_on_ready(
          BERTH_WRITABLE | BERTH_INLINE,
          [](void* self) { static_cast<Carrier*>(self)->pass_request(); }, this);
      return;
    }
    if (outcome != BERTH_OK) {
      request_ = Message();
      return;  // the call has ended; its status is on the way
    }
    request_.released();
    if (one_request_) {
      call_->client_half_close();
    } else {
      StartRead(&incoming_);
    }
  }

  void wait_for_response() {
    call_->client_on_ready(
        BERTH_READABLE | BERTH_INLINE,
        [](void* self) { static_cast<Carrier*>(self)->pass_response(); }, this);
  }

  void pass_response() {
    berth_message raw{};
    const int32_t outcome = call_->client_recv(0, &raw);
    if (outcome == BERTH_AGAIN) return wait_for_response();
    if (outcome == BERTH_END) {
      Finish(to_grpc(*call_->status()));
      return;
    }
    Message response(raw);
    outgoing_ = to_buffer(std::move(response));
    const Status* status = one_response_ ? call_->status() : nullptr;
    if (status != nullptr) {
      StartWriteAndFinish(&outgoing_, grpc::WriteOptions(), to_grpc(*status));
    } else {
      StartWrite(&outgoing_);
    }
  }

  UnderWay& under_way_;
  bus::CallRef call_;
  bool one_request_ = false;
  bool one_response_ = false;
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;
  Message request_;
};

class GenericService final : public grpc::CallbackGenericService {
 public:
  explicit GenericService(const Router& router) : router_(router) {}
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    return new Carrier(context, router_, under_way_);  // deletes itself in OnDone
  }
  UnderWay& under_way() { return under_way_; }

 private:
  const Router& router_;
  UnderWay under_way_;
};

class OpenGrpcDoor final : public GrpcDoor {
 public:
  OpenGrpcDoor(const GrpcDoorOptions& options, const Router& router) : service_(router) {
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(options.max_receive_bytes);
    builder.SetMaxSendMessageSize(options.max_send_bytes);
    builder.RegisterCallbackGenericService(&service_);
    acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
        grpc::InsecureServerCredentials());
    server_ = builder.BuildAndStart();
  }

  ~OpenGrpcDoor() override { close(monotonic_now()); }

  bool started() const { return server_ != nullptr; }

  void listen(UniqueFd listener, const std::string& path) {
    connections_ =
        std::make_unique<Acceptor>(std::move(listener), path, [this](UniqueFd connection) {
          grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
          parameters.listener_fd = -1;
          parameters.fd = connection.release();  // gRPC closes it
          acceptor_->HandleNewConnection(&parameters);
        });
  }

  void close(int64_t deadline) override {
    connections_.reset();
    if (!server_) return;
    // gRPC itself would wait for every client to close its connection.
    const int64_t left = std::max<int64_t>(deadline - monotonic_now(), 0);
    service_.under_way().wait_for_none(std::chrono::steady_clock::now() +
                                       std::chrono::nanoseconds(left));
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    server_.reset();
  }

 private:
  GenericService service_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Acceptor> connections_;
};

}  // namespace

Result<std::unique_ptr<GrpcDoor>> GrpcDoor::open(const GrpcDoorOptions& options,
                                                 const Router& router) {
  BERTH_ASSIGN_OR_RETURN(UniqueFd listener, listen_unix(options.address, options.uid, options.gid));
  auto door = std::make_unique<OpenGrpcDoor>(options, router);
  if (!door->started()) return internal_error("the gRPC server did not start");
  door->listen(std::move(listener), options.address);
  return std::unique_ptr<GrpcDoor>(std::move(door));
}

}  // namespace berth::rpc
