// Fuzzes what `berthctl plugin inspect` reads of a file of any origin.
#include <cstddef>
#include <cstdint>

#include "elf_facts.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  (void)berth::ctl::elf_facts({reinterpret_cast<const char*>(data), size}).ok();
  return 0;
}
