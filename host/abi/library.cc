#include "abi/library.h"

#include <berth/message.h>
#include <dlfcn.h>

#include <algorithm>

#include "abi/runtime_libraries.h"
#include "manifest/elf_facts.h"
#include "manifest/mapped_file.h"

namespace berth::abi {
namespace {

std::string joined(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& one : list) text += (text.empty() ? "" : ", ") + one;
  return text.empty() ? "nothing" : text;
}

std::vector<std::string> services_of(const berth_plugin& plugin) {
  std::vector<std::string> names;
  for (uint32_t i = 0; i < plugin.service_count; ++i) {
    names.emplace_back(view(plugin.services[i]->name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

Status check_plugin(const std::string& file, const berth_plugin& plugin,
                    const std::vector<DeclaredPlugin>& declared) {
  const std::string uri = std::string(view(plugin.type)) + "." + std::string(view(plugin.id));
  if (!BERTH_HAS(&plugin, handle) || plugin.init == nullptr || plugin.handle == nullptr) {
    return failed_precondition("load plugin " + file + ": the entry of " + uri +
                               " lacks init or handle");
  }
  const auto found = std::find_if(declared.begin(), declared.end(), [&](const auto& one) {
    return one.type == view(plugin.type) && one.id == view(plugin.id);
  });
  if (found == declared.end()) {
    return failed_precondition("load plugin " + file + ": the entry has " + uri +
                               ", the manifest does not; rebuild it with its own plugin.toml");
  }
  std::vector<std::string> promised = found->services;
  std::sort(promised.begin(), promised.end());
  if (const auto served = services_of(plugin); served != promised) {
    return failed_precondition("load plugin " + file + ": " + uri + " serves " + joined(served) +
                               ", its manifest says " + joined(promised) +
                               "; rebuild it with its own plugin.toml");
  }
  return {};
}

/// Before dlopen, since that runs code of the plugin.
Status check_needed(const std::string& file, const std::string& path) {
  const std::vector<std::string>& present = libraries_of_program();
  BERTH_ASSIGN_OR_RETURN(const auto mapped,
                         manifest::MappedFile::open(path, "load plugin " + file));
  const auto facts = manifest::elf_facts(mapped.bytes());
  if (!facts.ok()) return {};  // dlopen says what it thinks of it
  return check_runtime_libraries(file, facts->needed, present);
}

}  // namespace

Status check_abi(const std::string& file, uint32_t major, uint32_t minor) {
  const auto text = [](uint32_t a, uint32_t b) {
    return std::to_string(a) + "." + std::to_string(b);
  };
  if (major != BERTH_ABI_MAJOR) {
    return failed_precondition(
        "load plugin " + file + ": abi.major is " + std::to_string(major) + ", this host has " +
        std::to_string(BERTH_ABI_MAJOR) + ": " +
        (major > BERTH_ABI_MAJOR ? "upgrade berth" : "upgrade the plugin's package or rebuild it"));
  }
  if (minor > BERTH_ABI_MINOR) {
    return failed_precondition("load plugin " + file + ": abi.minor: it needs at least ABI " +
                               text(major, minor) + ", this host has " +
                               text(BERTH_ABI_MAJOR, BERTH_ABI_MINOR) + ": upgrade berth");
  }
  return {};
}

Result<Library> Library::load(const std::string& file,
                              const std::vector<DeclaredPlugin>& declared) {
  // A name without a slash would be looked for where libraries are.
  const std::string path = file.find('/') == std::string::npos ? "./" + file : file;
  BERTH_RETURN_IF_ERROR(check_needed(file, path));
  void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const std::string why = ::dlerror();
    // The name of a symbol of libberth-api (api/CMakeLists.txt).
    const bool messages = why.find("undefined symbol: berth_api_messages_") != std::string::npos;
    return failed_precondition(
        "load plugin " + file + ": " + why +
        (messages ? ": it was built with other messages of the API than this host has; install the "
                    "release of it that belongs to this berth, or rebuild it"
                  : ""));
  }
  auto* entry = reinterpret_cast<berth_entry_fn>(::dlsym(handle, BERTH_ENTRY_SYMBOL));
  if (entry == nullptr) {
    return failed_precondition("load plugin " + file + ": it does not export " BERTH_ENTRY_SYMBOL);
  }
  const berth_module* module = entry();
  if (module == nullptr || !BERTH_HAS(module, plugins)) {
    return failed_precondition("load plugin " + file + ": " BERTH_ENTRY_SYMBOL " gave no module");
  }
  BERTH_RETURN_IF_ERROR(check_abi(file, module->abi_major, module->abi_minor));
  for (uint32_t i = 0; i < module->plugin_count; ++i) {
    BERTH_RETURN_IF_ERROR(check_plugin(file, *module->plugins[i], declared));
  }
  const Library library(module);
  for (const DeclaredPlugin& one : declared) {
    if (library.find(one.type, one.id) == nullptr) {
      return failed_precondition("load plugin " + file + ": the manifest has " + one.type + "." +
                                 one.id +
                                 ", the entry does not; rebuild it with its own plugin.toml");
    }
  }
  return library;
}

const berth_plugin* Library::find(std::string_view type, std::string_view id) const {
  for (uint32_t i = 0; i < module_->plugin_count; ++i) {
    const berth_plugin* plugin = module_->plugins[i];
    if (view(plugin->type) == type && view(plugin->id) == id) return plugin;
  }
  return nullptr;
}

}  // namespace berth::abi
