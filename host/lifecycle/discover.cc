#include "lifecycle/discover.h"

#include <algorithm>
#include <filesystem>

#include "abi/file_safety.h"
#include "abi/library.h"

namespace berth::lifecycle {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> shared_objects(const std::string& directory) {
  std::vector<std::string> files;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
    if (entry.path().extension() == ".so") files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

void add_file(const std::string& file, Discovery* out) {
  if (Status safe = abi::check_plugin_file(file); !safe.ok()) {
    out->problems.push_back(safe.message());
    return;
  }
  auto read = manifest::read_manifest(file);
  if (!read.ok()) {
    out->problems.push_back(read.status().message());
    return;
  }
  const Status fits = abi::check_abi(file, read->abi_major, read->abi_minor);
  for (const manifest::Plugin& plugin : read->plugins) {
    out->candidates.push_back({file, plugin, fits.ok() ? std::string() : fits.message()});
  }
  out->manifests.emplace(file, std::move(*read));
}

}  // namespace

Discovery discover(const std::vector<std::string>& directories, bool must_exist) {
  Discovery found;
  for (const std::string& directory : directories) {
    if (!fs::exists(directory)) {
      if (must_exist)
        found.problems.push_back("plugin directory " + directory +
                                 " is not there: make it, or correct plugin_dir or --plugin-dir");
      continue;
    }
    if (Status safe = abi::check_plugin_directory(directory); !safe.ok()) {
      found.problems.push_back(safe.message());
      continue;
    }
    for (const std::string& file : shared_objects(directory)) add_file(file, &found);
  }
  return found;
}

}  // namespace berth::lifecycle
