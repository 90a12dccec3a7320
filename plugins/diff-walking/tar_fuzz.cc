// Layers come from registries as they are. The reader may refuse; it may not crash, hang, or give
// names, numbers or extents that its contract excludes.
#include <cstdint>
#include <cstdlib>

#include "tar_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace berth::diff_walking;
  if (size == 0) return 0;
  // The first byte chooses the pieces in which the rest arrives.
  MemorySource source(std::as_bytes(std::span(data + 1, size - 1)), size_t{data[0]} + 1);
  TarReader reader(&source);
  TarEntry entry;
  while (true) {
    const auto more = reader.next(&entry);
    if (!more.ok() || !*more) return 0;
    if (entry.name.empty() || entry.name.size() > kMaxTarName + 256 ||
        entry.name.find('\0') != std::string::npos ||
        entry.link_target.find('\0') != std::string::npos || entry.mode > 07777) {
      std::abort();
    }
    uint64_t end = 0;
    while (true) {
      const auto chunk = reader.read();
      if (!chunk.ok()) return 0;
      if (chunk->bytes.empty()) break;
      if (chunk->offset < end || chunk->offset + chunk->bytes.size() > entry.size) std::abort();
      end = chunk->offset + chunk->bytes.size();
    }
  }
}
