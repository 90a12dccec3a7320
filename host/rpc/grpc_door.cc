#include "rpc/grpc_door.h"

#include <absl/synchronization/mutex.h>
#include <berth/context.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

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
  /// Returns whether there is none, at `deadline` at the latest.
  bool wait_for_none(std::chrono::steady_clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    return idle_.wait_until(lock, deadline, [this] { return count_ == 0; });
  }

 private:
  std::atomic<int64_t> count_{0};
  std::mutex mutex_;
  std::condition_variable idle_;
};

/// Where RPCs come in and their operations end: a completion queue with one thread. gRPC ends the
/// operations of a connection on the queue that its calls came in by, so that nothing is handed
/// from thread to thread. (Its own callback API takes two such switches for each call.)
struct Lane {
  grpc::AsyncGenericService& service;
  std::unique_ptr<grpc::ServerCompletionQueue> queue;
  const Router& router;
  UnderWay& under_way;
  std::thread thread;
};

/// One RPC: the client end of a bus call on one side, gRPC's operations on the other. Everything
/// that it does is started by an event of one of them. Deletes itself once gRPC has ended the last
/// operation.
class Carrier {
 public:
  /// What gRPC gives back when an operation has ended.
  struct Tag {
    Carrier* carrier;
    void (Carrier::*ended)(bool ok);
  };

  /// Waits for the next RPC. Not after the server's shutdown.
  static void expect(Lane& lane) { new Carrier(lane); }

  static void run(void* tag, bool ok) {
    const Tag* ended = static_cast<Tag*>(tag);
    Carrier* carrier = ended->carrier;
    {
      const bus::EventScope scope;
      (carrier->*ended->ended)(ok);
    }
    carrier->operation_ended();
  }

 private:
  explicit Carrier(Lane& lane) : lane_(lane), stream_(&context_) {
    context_.AsyncNotifyWhenDone(&done_);
    lane_.service.RequestCall(&context_, &stream_, lane_.queue.get(), lane_.queue.get(),
                              &accepted_);
  }

  void on_accepted(bool ok) {
    if (!ok) return;  // the server is shut down, and on_done will not be called
    lane_.under_way.begin();
    counted_ = true;
    expect(lane_);
    operation_began();  // until on_done
    Result<Route> route = lane_.router.find(context_.method());
    if (!route.ok()) {
      finish(route.status());
      return;
    }
    bus::CallSettings settings;
    settings.headers = to_headers(context_.client_metadata());
    settings.deadline = to_deadline(context_.raw_deadline());
    const bus::Method* method = route->target->method(route->method);
    one_request_ = !method->client_stream();
    one_response_ = !method->server_stream();
    call_ = bus::Call::open(*route->target, route->method, std::move(settings));
    read();
    wait_for_response();
  }

  /// The RPC has ended, for gRPC.
  void on_done(bool) {
    if (call_ && context_.IsCancelled()) cancel();
  }

  void read() {
    operation_began();
    stream_.Read(&incoming_, &read_);
  }

  void on_read(bool ok) {
    if (!ok) {
      call_->client_half_close();
      return;
    }
    request_ = Message(to_message(incoming_));
    incoming_.Clear();
    pass_request();
  }

  void on_written(bool ok) {
    outgoing_.Clear();
    if (!ok) cancel();  // the client is gone; what is left to come, and the status, find no way
    wait_for_response();
  }

  void on_finished(bool) {}

  void cancel() { call_->end(cancelled("the client cancelled the call")); }

  /// Hands request_ to the bus, now or when there is room.
  void pass_request() {
    const int32_t outcome = call_->client_send(request_.raw(), 0);
    if (outcome == BERTH_AGAIN) {
      operation_began();
      call_->client_on_ready(
          BERTH_WRITABLE | BERTH_INLINE,
          [](void* self) {
            static_cast<Carrier*>(self)->pass_request();
            static_cast<Carrier*>(self)->operation_ended();
          },
          this);
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
      read();
    }
  }

  void wait_for_response() {
    operation_began();
    call_->client_on_ready(
        BERTH_READABLE | BERTH_INLINE,
        [](void* self) {
          static_cast<Carrier*>(self)->pass_response();
          static_cast<Carrier*>(self)->operation_ended();
        },
        this);
  }

  void pass_response() {
    berth_message raw{};
    const int32_t outcome = call_->client_recv(0, &raw);
    if (outcome == BERTH_AGAIN) return wait_for_response();
    if (outcome == BERTH_END) {
      finish(*call_->status());
      return;
    }
    outgoing_ = to_buffer(Message(raw));
    const Status* status = one_response_ ? call_->status() : nullptr;
    operation_began();
    if (status != nullptr) {
      stream_.WriteAndFinish(outgoing_, grpc::WriteOptions(), to_grpc(*status), &finished_);
    } else {
      stream_.Write(outgoing_, &written_);
    }
  }

  void finish(const Status& status) {
    operation_began();
    stream_.Finish(to_grpc(status), &finished_);
  }

  /// Operations of gRPC and callbacks of the bus that have not come back.
  void operation_began() { operations_.fetch_add(1, std::memory_order_relaxed); }
  void operation_ended() {
    if (operations_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    UnderWay& under_way = lane_.under_way;
    const bool counted = counted_;
    if (call_) {
      const bus::EventScope scope;
      call_->client_release();
    }
    delete this;
    if (counted) under_way.end();
  }

  Lane& lane_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_;
  Tag accepted_{this, &Carrier::on_accepted};
  Tag done_{this, &Carrier::on_done};
  Tag read_{this, &Carrier::on_read};
  Tag written_{this, &Carrier::on_written};
  Tag finished_{this, &Carrier::on_finished};
  std::atomic<int> operations_{1};  // accepted_
  bool counted_ = false;
  bool one_request_ = false;
  bool one_response_ = false;
  bus::CallRef call_;
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;
  Message request_;
};

class OpenGrpcDoor final : public GrpcDoor {
 public:
  OpenGrpcDoor(const GrpcDoorOptions& options, const Router& router) {
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(options.max_receive_bytes);
    builder.SetMaxSendMessageSize(options.max_send_bytes);
    builder.RegisterAsyncGenericService(&service_);
    acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
        grpc::InsecureServerCredentials());
    const unsigned lanes = std::clamp(std::thread::hardware_concurrency() / 2, 1U, 8U);
    for (unsigned i = 0; i < lanes; ++i) {
      lanes_.push_back(std::unique_ptr<Lane>(
          new Lane{service_, builder.AddCompletionQueue(), router, under_way_, {}}));
    }
    server_ = builder.BuildAndStart();
    if (!server_) return;
    for (const auto& lane : lanes_) {
      for (int i = 0; i < kExpected; ++i) Carrier::expect(*lane);
      lane->thread = std::thread([&queue = *lane->queue] {
        void* tag = nullptr;
        bool ok = false;
        while (queue.Next(&tag, &ok)) Carrier::run(tag, ok);
      });
    }
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
    (void)under_way_.wait_for_none(std::chrono::steady_clock::now() +
                                   std::chrono::nanoseconds(left));
    server_->Shutdown(std::chrono::system_clock::now());  // cancels what is still under way
    (void)under_way_.wait_for_none(std::chrono::steady_clock::time_point::max());
    for (const auto& lane : lanes_) lane->queue->Shutdown();
    for (const auto& lane : lanes_) lane->thread.join();
    server_.reset();
  }

 private:
  static constexpr int kExpected = 8;  // RPCs per lane that can come in before the thread turns

  grpc::AsyncGenericService service_;
  UnderWay under_way_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Acceptor> connections_;
};

}  // namespace

Result<std::unique_ptr<GrpcDoor>> GrpcDoor::open(const GrpcDoorOptions& options,
                                                 const Router& router) {
  // Debian's Abseil keeps a graph of who waits for whom, for every lock of gRPC's; it is for those
  // who work on gRPC.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  BERTH_ASSIGN_OR_RETURN(UniqueFd listener, listen_unix(options.address, options.uid, options.gid));
  auto door = std::make_unique<OpenGrpcDoor>(options, router);
  if (!door->started()) return internal_error("the gRPC server did not start");
  door->listen(std::move(listener), options.address);
  return std::unique_ptr<GrpcDoor>(std::move(door));
}

}  // namespace berth::rpc
