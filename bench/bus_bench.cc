// What a call between two plugins costs on the bus, through the table that plugins see: raw bytes,
// and a server and a client that protoc-gen-berth made. Prints ns per call.
#include <berth/plugin.h>

#include <chrono>
#include <cstdio>
#include <functional>

#include "bus/host_table.h"
#include "bus/target.h"
#include "containerd/services/content/v1/content.berth.h"

namespace {

using berth::ServerCall;
using berth::bus::Target;
namespace content = containerd::services::content::v1;

constexpr int kCalls = 500'000;
constexpr size_t kRequestBytes = 204;
constexpr size_t kReplyBytes = 357;

const berth_method kMethods[] = {{berth::str("Do"), BERTH_METHOD_NO_BLOCK, 0}};
const berth_service kService = {sizeof(berth_service), 1, berth::str("bench.Bench"), kMethods, {}};

using Handler = std::function<void(berth_call*)>;

berth::Target serve(Handler handler) {
  berth::bus::host_table();
  auto* target = new Target({"bench.x", "bench", "x", ""});  // targets live for ever
  target->add_service(kService);
  target->serve([](void* self, uint32_t, uint32_t,
                   berth_call* call) { (*static_cast<Handler*>(self))(call); },
                new Handler(std::move(handler)));
  target->ready();
  return berth::Target(berth::bus::handle_of(target));
}

void measure(const char* row, berth::Target target) {
  const std::string request(kRequestBytes, 'q');
  const berth::Context context;
  const berth::CallOptions options(context);
  berth_message message{};
  message.body = {request.data(), request.size(), nullptr, nullptr, 0};
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < kCalls; ++i) {
    berth::ClientCall call(berth::detail::host->unary(target.raw(), 0, options.raw(), &message));
    berth::Message reply;
    if (call.recv(&reply, 0) != BERTH_OK || reply.bytes().size() != kReplyBytes) {
      std::fprintf(stderr, "%s: call %d gave no reply of %zu bytes\n", row, i, kReplyBytes);
      std::exit(1);
    }
  }
  const std::chrono::duration<double, std::nano> passed = std::chrono::steady_clock::now() - began;
  std::printf("%-44s %10.0f\n", row, passed.count() / kCalls);
}

/// Answers with the same message each time.
class Echo final : public content::ContentService {
 public:
  static constexpr std::string_view kNoBlock[] = {"Info"};
  Echo() {
    content::Info* info = response_.mutable_info();
    info->set_size(1 << 20);
    info->set_digest(std::string(71, 'd'));
    (*info->mutable_labels())["label"] =
        std::string(kReplyBytes - response_.ByteSizeLong() - 19, 'r');
  }
  berth::Status Info(berth::Context&, const content::InfoRequest&,
                     content::InfoResponse* response) override {
    *response = response_;
    return {};
  }

 private:
  content::InfoResponse response_;
};

berth::Target serve_typed() {
  auto* target = new Target({"bench.x", "bench", "x", ""});
  target->add_service(*berth::detail::service_table<Echo, Echo>());
  target->serve(
      [](void* self, uint32_t, uint32_t method, berth_call* call) {
        static_cast<Echo*>(self)->handle(method, ServerCall(call));
      },
      new Echo);
  target->ready();
  return berth::Target(berth::bus::handle_of(target));
}

void measure_typed(const char* row, berth::Target target) {
  const content::ContentClient client(target);
  content::InfoRequest request;
  request.set_digest(std::string(kRequestBytes - 3, 'q'));  // with its tag and length
  const berth::Context context;
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < kCalls; ++i) {
    content::InfoResponse response;
    const berth::Status status = client.Info(context, request, &response);
    if (!status.ok() || response.info().digest().size() != 71) {
      std::fprintf(stderr, "%s: call %d: %s\n", row, i, std::string(status.message()).c_str());
      std::exit(1);
    }
  }
  const std::chrono::duration<double, std::nano> passed = std::chrono::steady_clock::now() - began;
  std::printf("%-44s %10.0f\n", row, passed.count() / kCalls);
}

}  // namespace

int main() {
  const berth::Target leaf = serve([](berth_call* raw) {
    berth::Message reply = berth::Message::with_size(kReplyBytes);
    berth::detail::host->finish(raw, nullptr, &reply.raw());
    reply.released();
  });
  const berth::Target forwarding = serve([leaf](berth_call* raw) {
    if (berth::detail::host->forward(raw, leaf.raw(), 0, nullptr, nullptr, 0) != BERTH_OK) {
      ServerCall(raw).finish(berth::internal_error("forward was refused"));
    }
  });
  std::printf("%-44s %10s\n", "row", "ns/call");
  measure("unary, bytes", leaf);
  measure("unary, bytes, forwarded once", forwarding);
  measure_typed("unary, generated server and client", serve_typed());
  return 0;
}
