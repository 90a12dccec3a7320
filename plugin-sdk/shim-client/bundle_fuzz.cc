// What a bundle says was written by a shim, of which there are many, or by a daemon before, which
// may have died at it. Whatever the bytes: no crash, and what is taken in is what was meant.
#include <berth/shim_client/bootstrap.h>

#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace berth::shim_client;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto bootstrap = parse_bootstrap(text); bootstrap.ok()) {
    if (bootstrap->version < 2 || bootstrap->version > 3) std::abort();
    if (const auto path = bootstrap->socket_path(); path.ok()) {
      // What is written down is read back the same. JSON has no place for bytes that are no text.
      const std::string json = bootstrap->to_json();
      const auto again = parse_bootstrap(json);
      if (!again.ok() || again->version != bootstrap->version) std::abort();
    }
  }
  (void)container_root_group(text);
  if (validate_identifier("id", text).ok() &&
      text.find_first_of(std::string_view("/\0\n", 3)) != std::string_view::npos) {
    std::abort();
  }
  return 0;
}
