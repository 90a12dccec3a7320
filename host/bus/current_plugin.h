// Whose code runs on this thread, kept so that a crash can be told to its author.
#pragma once

#include <string_view>

namespace berth::bus {

/// Says, while it lives, that this thread is in `what` of `plugin`. Both must outlive it. Nests.
class CurrentPlugin {
 public:
  CurrentPlugin(std::string_view plugin, std::string_view what)
      : plugin_(plugin), what_(what), outer_(innermost_) {
    innermost_ = this;
  }
  ~CurrentPlugin() { innermost_ = outer_; }
  CurrentPlugin(const CurrentPlugin&) = delete;
  CurrentPlugin& operator=(const CurrentPlugin&) = delete;

  std::string_view plugin() const { return plugin_; }
  std::string_view what() const { return what_; }

  /// nullptr where the host's own code or a thread that a plugin made runs. Safe in a signal
  /// handler.
  static const CurrentPlugin* innermost() { return innermost_; }

 private:
  static inline thread_local const CurrentPlugin* innermost_ = nullptr;
  const std::string_view plugin_;
  const std::string_view what_;
  const CurrentPlugin* const outer_;
};

}  // namespace berth::bus
