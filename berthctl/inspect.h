// berthctl plugin inspect: one plugin file, read and not run.
#pragma once

#include <berth/status.h>

#include <string>
#include <vector>

#include "manifest/elf_facts.h"
#include "manifest/manifest.h"

namespace berth::ctl {

struct Inspection {
  manifest::Manifest manifest;
  uint64_t bytes = 0;
  manifest::ElfFacts elf;
  std::vector<std::string> problems;  // for which berthd would not load it
  std::vector<std::string> warnings;  // with which it loads and should not be shipped
};

/// Why there is nothing to show, naming the file: not there, not ELF, no manifest, a broken one. A
/// file that is merely not to be loaded (owner, mode, another ABI) is shown with its problems.
Result<Inspection> inspect(const std::string& file);

std::string inspection_text(const Inspection& inspection);
std::string inspection_json(const Inspection& inspection);

}  // namespace berth::ctl
