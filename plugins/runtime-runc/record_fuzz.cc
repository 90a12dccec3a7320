// What a shim wrote down of its processes may be cut off anywhere. Whatever the bytes: no crash,
// and what is taken in is what was meant.
#include <cstdint>
#include <cstdlib>

#include "process_record.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace berth::runtime;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const ProcessRecord record = parse_record(text);
  for (const auto& [id, process] : record.processes) {
    if (process.end && process.end->pid != process.pid) std::abort();
    if (id == "." || id.find('\n') != std::string::npos) std::abort();
  }
  return 0;
}
