// Opening a plugin's shared object and holding it to what its manifest says.
#pragma once

#include <berth/abi.h>
#include <berth/status.h>

#include <string>
#include <vector>

namespace berth::abi {

/// One [[plugin]] of the manifest, as far as the entry must agree with it.
struct DeclaredPlugin {
  std::string type;
  std::string id;
  std::vector<std::string> services;
};

/// OK when a plugin that was built for `major` and needs at least `minor` loads in this host; else
/// FAILED_PRECONDITION with both values and what to upgrade. `file` is for the message.
Status check_abi(const std::string& file, uint32_t major, uint32_t minor);

/// A loaded shared object; never unloaded. Call on one thread at a time.
class Library {
 public:
  /// The check of the libraries that it needs, dlopen (RTLD_NOW | RTLD_LOCAL), the entry function,
  /// and the checks: ABI, and that the entry has exactly the declared plugins and services.
  static Result<Library> load(const std::string& file, const std::vector<DeclaredPlugin>& declared);

  /// nullptr when there is none of that type and id.
  const berth_plugin* find(std::string_view type, std::string_view id) const;

 private:
  explicit Library(const berth_module* module) : module_(module) {}
  const berth_module* module_;
};

}  // namespace berth::abi
