// What a call between two plugins costs on the bus, through the table that plugins see. Prints ns
// per call.
#include <berth/server.h>

#include <chrono>
#include <cstdio>
#include <functional>

#include "bus/host_table.h"
#include "bus/target.h"

namespace {

using berth::ServerCall;
using berth::bus::Target;

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
  return 0;
}
