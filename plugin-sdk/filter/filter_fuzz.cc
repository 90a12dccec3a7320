// Filters come from clients as they are. Neither parsing nor matching may do more than fail.
#include <berth/filter.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const berth::Result<berth::Filter> filter = berth::Filter::parse(text);
  if (!filter.ok()) {
    if (filter.status().code() != berth::Code::kInvalidArgument) std::abort();
    return 0;
  }
  (void)filter->matches([](std::span<const std::string> path) -> std::optional<std::string> {
    if (path.empty()) std::abort();
    return path.front() == "name" ? std::optional<std::string>("value") : std::nullopt;
  });
  return 0;
}
