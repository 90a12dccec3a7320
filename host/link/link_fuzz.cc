// libFuzzer: any bytes from the other side through a whole link with a plugin behind it. An input
// whose first byte is even is made into frames, so that what is in them is tried, too: type, flags,
// stream and size in a byte each, then the payload.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <future>

#include "bus/host_table.h"
#include "link/control.h"
#include "link/link.h"

using namespace berth;
using namespace berth::link;

namespace {

const berth_method kMethods[] = {
    {str("Unary"), BERTH_METHOD_NO_BLOCK, 0},
    {str("Bidi"), BERTH_METHOD_CLIENT_STREAM | BERTH_METHOD_SERVER_STREAM | BERTH_METHOD_NO_BLOCK,
     0}};
const berth_service kService = {sizeof(berth_service), 2, str("fuzz.Fuzz"), kMethods, {}};

bus::Target& served() {
  static auto* target = [] {
    bus::host_table();
    auto* made = new bus::Target({"fuzz.x", "fuzz", "x", ""});
    made->add_service(kService);
    made->serve(
        [](void*, uint32_t, uint32_t method, berth_call* call) {
          if (method == 0) return detail::host->finish(call, nullptr, nullptr);
          const Status status = invalid_argument("no");
          const berth_status raw = borrow(status);
          detail::host->finish(call, &raw, nullptr);
        },
        nullptr);
    made->ready();
    return made;
  }();
  return *target;
}

void decode(const Frame& frame) {
  const std::string_view bytes = frame.bytes();
  (void)decode_loaded(bytes);
  (void)decode_settings(bytes);
  (void)decode_step(bytes);
  (void)decode_outcome(bytes);
  (void)decode_log(bytes);
  (void)decode_log_settings(bytes);
}

std::string frames_of(std::string_view input) {
  if (input.empty() || (input[0] & 1) != 0) return std::string(input);
  std::string bytes;
  input.remove_prefix(1);
  while (input.size() >= 4) {
    FrameHeader header;
    header.type = static_cast<FrameType>(static_cast<uint8_t>(input[0]) % 18);
    header.flags = static_cast<uint8_t>(input[1]);
    header.stream = static_cast<uint8_t>(input[2]) % 4;
    const auto size = std::min<size_t>(static_cast<uint8_t>(input[3]), input.size() - 4);
    header.size = static_cast<uint32_t>(size);
    bytes.append(reinterpret_cast<const char*>(&header), sizeof header);
    bytes.append(input.substr(4, size));
    input.remove_prefix(4 + size);
  }
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  bus::Target& target = served();
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return 0;
  std::promise<void> down;
  const auto one = std::make_shared<Link>(UniqueFd(ends[0]), Link::Hooks{[](Frame frame) {
                                                                           decode(frame);
                                                                           return Status();
                                                                         },
                                                                         [&](const Status& why) {
                                                                           down.set_value();
                                                                           return why;
                                                                         }});
  one->offer({&target});
  one->start();
  {
    const UniqueFd other(ends[1]);
    const std::string bytes = frames_of({reinterpret_cast<const char*>(data), size});
    (void)!::send(other.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    ::shutdown(other.get(), SHUT_WR);
    down.get_future().wait();
  }
  return 0;
}
