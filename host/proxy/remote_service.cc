#include "proxy/remote_service.h"

#include <berth/context.h>
#include <berth/server.h>
#include <google/protobuf/descriptor.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "bus/host_table.h"
#include "proxy/contact.h"

namespace berth::proxy {
namespace {

// How often a thread that waits for a client's next message looks whether the remote has ended the
// call.
constexpr int64_t kLookAround = 100'000'000;

/// The method table of a service of the API. Lives for ever, as the bus wants it.
Result<const berth_service*> table_of(const std::string& name) {
  const auto* service = google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(name);
  if (service == nullptr) return not_found("service " + name + " is not part of the API");
  struct Table {
    berth_service service{};
    std::vector<berth_method> methods;
  };
  auto* table = new Table;
  for (int i = 0; i < service->method_count(); ++i) {
    const auto* method = service->method(i);
    const uint32_t flags = (method->client_streaming() ? BERTH_METHOD_CLIENT_STREAM : 0U) |
                           (method->server_streaming() ? BERTH_METHOD_SERVER_STREAM : 0U);
    table->methods.push_back({str(method->name()), flags, 0});
  }
  table->service.struct_size = sizeof table->service;
  table->service.method_count = static_cast<uint32_t>(table->methods.size());
  table->service.name = str(service->full_name());
  table->service.methods = table->methods.data();
  return &table->service;
}

grpc::ByteBuffer copied(std::string_view bytes) {
  const grpc::Slice slice(bytes.data(), bytes.size());
  return grpc::ByteBuffer(&slice, 1);
}

/// Not what belongs to one connection, nor the bus's own (ABI rule 13), nor a lease, which is this
/// daemon's and unknown elsewhere.
bool is_passed_on(std::string_view key) {
  if (key == "te" || key == "host" || key == kLeaseHeader) return false;
  constexpr std::array<std::string_view, 6> kPrefixes = {":",        "berth-",  "grpc-",
                                                         "content-", "accept-", "user-agent"};
  return std::none_of(kPrefixes.begin(), kPrefixes.end(),
                      [&](std::string_view prefix) { return key.starts_with(prefix); });
}

Message to_message(const grpc::ByteBuffer& buffer) {
  grpc::Slice slice;
  (void)buffer.DumpToSingleSlice(&slice);
  return Message::copy_of({reinterpret_cast<const char*>(slice.begin()), slice.size()});
}

/// One RPC to the remote, in blocking form: gRPC's events wake whoever waits for them.
class Rpc final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  /// `ns`: instead of the caller's namespace, unless empty.
  Rpc(grpc::GenericStub* stub, const std::string& method, const Context& context,
      const std::string& ns) {
    const auto deadline = context.deadline();
    if (deadline != BERTH_FOREVER) {
      context_.set_deadline(std::chrono::system_clock::now() +
                            std::chrono::nanoseconds(deadline - monotonic_now()));
    }
    const berth_header* headers = nullptr;
    const uint32_t count = berth::detail::host->headers(context.call(), &headers);
    for (uint32_t i = 0; i < count; ++i) {
      const std::string_view key = view(headers[i].key);
      if (!is_passed_on(key) || (key == kNamespaceHeader && !ns.empty())) continue;
      context_.AddMetadata(std::string(key), std::string(view(headers[i].value)));
    }
    if (!ns.empty()) context_.AddMetadata(std::string(kNamespaceHeader), ns);
    stub->PrepareBidiStreamingCall(&context_, method, {}, this);
    AddHold();  // reads and writes begin outside of gRPC's own callbacks
    StartCall();
  }

  /// False when the call has ended; then nothing more can be written. One thread at a time.
  bool write(grpc::ByteBuffer message, bool last) {
    std::unique_lock lock(mutex_);
    if (over_) return false;
    outgoing_ = std::move(message);
    writing_ = true;
    lock.unlock();
    last ? StartWriteLast(&outgoing_, {}) : StartWrite(&outgoing_);
    lock.lock();
    changed_.wait(lock, [this] { return !writing_; });
    return written_;
  }
  void no_more_writes() {
    const std::lock_guard lock(mutex_);
    if (!over_) StartWritesDone();
  }
  /// The next message; false at the end. One thread at a time, not the one of write().
  bool read(grpc::ByteBuffer* message) {
    {
      const std::lock_guard lock(mutex_);
      reading_ = true;
    }
    StartRead(message);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !reading_; });
    if (!got_) over_ = true;
    return got_;
  }
  /// After read() has returned false and nobody writes any more.
  grpc::Status finish() {
    RemoveHold();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done_; });
    return status_;
  }
  /// After finish(): whether its status is the remote's own word and not what gRPC makes of a
  /// connection that broke. gRPC tells so in its text for debugging alone.
  bool remote_answered() const {
    return context_.debug_error_string().find("Error received from peer") != std::string::npos;
  }
  void cancel() { context_.TryCancel(); }
  bool over() {
    const std::lock_guard lock(mutex_);
    return over_;
  }

 private:
  void OnWriteDone(bool ok) override { set(&writing_, &written_, ok); }
  void OnReadDone(bool ok) override { set(&reading_, &got_, ok); }
  void OnDone(const grpc::Status& status) override {
    const std::lock_guard lock(mutex_);
    status_ = status;
    done_ = true;
    changed_.notify_all();
  }
  void set(bool* waiting, bool* outcome, bool ok) {
    const std::lock_guard lock(mutex_);
    *waiting = false;
    *outcome = ok;
    changed_.notify_all();
  }

  grpc::ClientContext context_;
  grpc::ByteBuffer outgoing_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  bool writing_ = false, written_ = false, reading_ = false, got_ = false;
  bool over_ = false;  // the remote has nothing more to say
  bool done_ = false;
  grpc::Status status_;
};

/// The connection to the program. One that broke is given up and made anew at the next call: on a
/// unix socket it is known at once whether somebody listens, and gRPC's own pauses between two
/// tries would only make callers fail.
class Connection {
 public:
  Connection(const Remote& remote, const std::string& path) : address_("unix:" + path) {
    arguments_.SetMaxReceiveMessageSize(remote.max_receive_bytes);
    arguments_.SetMaxSendMessageSize(remote.max_send_bytes);
    // Go's servers refuse a path as authority.
    arguments_.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
    // What is known of the address, its pauses too, is the channel's own.
    arguments_.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  }

  std::shared_ptr<grpc::GenericStub> stub() {
    const std::lock_guard lock(mutex_);
    if (channel_ == nullptr || channel_->GetState(false) == GRPC_CHANNEL_TRANSIENT_FAILURE) {
      channel_ =
          grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments_);
      stub_ = std::make_shared<grpc::GenericStub>(channel_);
    }
    return stub_;
  }

 private:
  const std::string address_;
  grpc::ChannelArguments arguments_;
  std::mutex mutex_;  // guards what follows
  std::shared_ptr<grpc::Channel> channel_;
  std::shared_ptr<grpc::GenericStub> stub_;
};

class RemoteService {
 public:
  RemoteService(Remote remote, const std::string& path)
      : remote_(std::move(remote)), connection_(remote_, path) {}

  void set_target(const bus::Target* target) { target_ = target; }

  void handle(uint32_t service, uint32_t index, ServerCall call) {
    const bus::Method* method = method_of(service, index);
    if (method == nullptr)
      return call.finish(unimplemented("a method that the target does not have"));
    const auto stub = connection_.stub();  // longer than the call
    Rpc rpc(stub.get(), "/" + method->full_name(), call.context(), remote_.ns);
    call.on_cancel([](void* one) { static_cast<Rpc*>(one)->cancel(); }, &rpc);
    std::thread requests;
    if (method->client_stream()) {
      requests = std::thread([&] { pass_requests(&call, &rpc); });
    } else {
      (void)rpc.write(copied(call.request_bytes()), true);
    }
    Message response;
    grpc::ByteBuffer incoming;
    while (rpc.read(&incoming)) {
      Message message = to_message(incoming);
      if (!method->server_stream()) {
        response = std::move(message);
      } else if (call.send(std::move(message)) != BERTH_OK) {
        rpc.cancel();
      }
    }
    if (requests.joinable()) requests.join();
    const grpc::Status outcome = rpc.finish();
    const Status status = explained(outcome, rpc.remote_answered(), *method);
    call.on_cancel(nullptr, nullptr);
    if (!status.ok() || method->server_stream()) return call.finish(status);
    call.finish(std::move(response));
  }

 private:
  const bus::Method* method_of(uint32_t service, uint32_t index) const {
    for (const auto& method : target_->methods()) {
      if (method->service_index == service && method->method_index == index) return method.get();
    }
    return nullptr;
  }

  static void pass_requests(ServerCall* call, Rpc* rpc) {
    while (!rpc->over()) {
      Message message;
      const int32_t outcome = call->recv(&message, kLookAround);
      if (outcome == BERTH_AGAIN) continue;
      if (outcome == BERTH_END) return rpc->no_more_writes();
      if (outcome != BERTH_OK) return rpc->cancel();
      if (!rpc->write(copied(message.bytes()), false)) return;
    }
  }

  Status explained(const grpc::Status& status, bool answered, const bus::Method& method) const {
    if (status.ok()) return {};
    const auto code = static_cast<Code>(status.error_code());
    if (code == Code::kUnavailable && !answered) {
      return unavailable("call " + method.full_name() + " of the proxied plugin " + remote_.uri +
                         " at " + remote_.address + ": " + status.error_message() +
                         "; see that its program runs and listens there");
    }
    return {code, status.error_message(), status.error_details()};
  }

  const Remote remote_;
  Connection connection_;
  const bus::Target* target_ = nullptr;
};

}  // namespace

Result<bus::Target*> serve_remote(const std::string& type, const std::string& id, Remote remote,
                                  const std::vector<std::string>& services) {
  const std::string path = path_of(remote.address);
  if (!path.starts_with('/')) {
    return invalid_argument("connect the proxied plugin " + remote.uri + " to \"" + remote.address +
                            "\": only absolute paths of unix sockets are offered");
  }
  bus::host_table();
  auto target = std::make_unique<bus::Target>(bus::Target::Identity{remote.uri, type, id, ""});
  for (const std::string& service : services) {
    BERTH_ASSIGN_OR_RETURN(const berth_service* const table, table_of(service));
    target->add_service(*table);
  }
  auto* instance = new RemoteService(std::move(remote), path);
  instance->set_target(target.get());
  target->serve(
      [](void* self, uint32_t service, uint32_t method, berth_call* call) {
        static_cast<RemoteService*>(self)->handle(service, method, ServerCall(call));
      },
      instance);
  target->ready();
  return target.release();  // lives for ever, as what it serves
}

}  // namespace berth::proxy
