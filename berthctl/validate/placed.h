// The plugin under test where `--placement` has it: in a process of its own with berthd's link to
// it, behind a socket as other daemons reach it, or in another daemon altogether.
#pragma once

#include <berth/client.h>
#include <berth/status.h>

#include <memory>
#include <string>

namespace berth::ctl::validate {

/// Started, and stopped by its destructor.
class PlacedPlugin {
 public:
  /// `directory`: for its root and state, and what else it needs; the same one finds what an
  /// earlier one has left. FAILED_PRECONDITION, UNIMPLEMENTED and NOT_FOUND: it skips this machine.
  static Result<std::unique_ptr<PlacedPlugin>> start(const std::string& directory);
  virtual ~PlacedPlugin() = default;
  virtual Target target() const = 0;
};

}  // namespace berth::ctl::validate
