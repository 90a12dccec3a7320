// Fuzzes what is read of a file before anything of it is trusted: the ELF note, then the TOML in
// it.
#include "manifest/elf_note.h"
#include "manifest/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)berth::manifest::find_manifest_note(bytes).ok();
  (void)berth::manifest::parse_manifest(bytes, "fuzz").ok();
  return 0;
}
