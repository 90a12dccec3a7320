#include "abi/runtime_libraries.h"

#include <link.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace berth::abi {
namespace {

/// What the programs link of which the symbols have neither versions nor a namespace for each
/// release (as libfmt has), and a plugin may have got from its distribution.
constexpr std::array<std::string_view, 3> kUnversioned = {"libprotobuf", "libre2", "libspdlog"};

struct Name {
  std::string_view stem;     // "libprotobuf"
  std::string_view version;  // "32"; empty: none
};

Name parse(std::string_view library) {
  library.remove_prefix(std::min(library.rfind('/') + 1, library.size()));
  const size_t so = library.find(".so");
  if (so == std::string_view::npos) return {library, {}};
  std::string_view stem = library.substr(0, so);
  if (stem == "libprotobuf-lite") stem = "libprotobuf";
  std::string_view version = library.substr(so + 3);
  if (version.starts_with('.')) version.remove_prefix(1);
  return {stem, version};
}

}  // namespace

Status check_runtime_libraries(const std::string& file, const std::vector<std::string>& needed,
                               const std::vector<std::string>& present) {
  for (const std::string& library : needed) {
    const Name wanted = parse(library);
    if (std::find(kUnversioned.begin(), kUnversioned.end(), wanted.stem) == kUnversioned.end()) {
      continue;
    }
    for (const std::string& other : present) {
      const Name there = parse(other);
      if (there.stem != wanted.stem || there.version == wanted.version) continue;
      return failed_precondition(
          "load plugin " + file + ": it needs " + library + ", and this host runs with " +
          other.substr(other.rfind('/') + 1) +
          ", whose symbols have the same names: install the release of it that was built for this "
          "distribution, or rebuild it");
    }
  }
  return {};
}

const std::vector<std::string>& libraries_of_program() {
  static const std::vector<std::string> libraries = [] {
    std::vector<std::string> found;
    ::dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void* to) {
          if (info->dlpi_name != nullptr && *info->dlpi_name != '\0') {
            static_cast<std::vector<std::string>*>(to)->emplace_back(info->dlpi_name);
          }
          return 0;
        },
        &found);
    return found;
  }();
  return libraries;
}

}  // namespace berth::abi
