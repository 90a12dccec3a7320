// What the dynamic loader will find in a shared object, read from its bytes without loading it.
#pragma once

#include <berth/status.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth::manifest {

struct ElfFacts {
  uint16_t type = 0;                  // ET_DYN for a shared object
  uint16_t machine = 0;               // EM_X86_64, …
  bool has_sections = false;          // exports and versions are known only with section headers
  std::vector<std::string> needed;    // libraries, as the loader will look for them
  std::vector<std::string> run_path;  // DT_RPATH and DT_RUNPATH
  std::vector<std::string> exports;   // symbols that others can bind to, sorted
  std::string glibc;                  // the greatest GLIBC_ version asked for: "2.34"; or empty
  bool executable_stack = false;
  bool text_relocations = false;
};

/// Bytes of any origin; INVALID_ARGUMENT when they are not a 64-bit little-endian ELF file or lie
/// about their sizes. Pure; any thread.
Result<ElfFacts> elf_facts(std::string_view image);

}  // namespace berth::manifest
