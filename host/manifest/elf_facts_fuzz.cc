// Fuzzes what `berthctl plugin inspect` and the host read of a file of any origin.
#include <cstddef>
#include <cstdint>

#include "manifest/elf_facts.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  (void)berth::manifest::elf_facts({reinterpret_cast<const char*>(data), size}).ok();
  return 0;
}
