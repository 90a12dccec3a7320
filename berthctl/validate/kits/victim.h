// A process that is killed at its work, as a daemon is that loses its power or its mind: what it
// was told by the plugin before counts, what was under way may be or not be.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "validate/fixture.h"

namespace berth::ctl::validate {

/// Says one line of what has been acknowledged; from the victim to the case.
using Tell = std::function<void(const std::string& line)>;

struct Witness {
  std::vector<std::string> told;
  std::string failure;  // of the victim itself, which ended before it was killed
};

/// Forks, runs `work` there and kills it `after` its first line, wherever it is then. To be called
/// before this process has threads. `work` returns why it cannot go on.
Witness kill_at_work(const std::function<std::string(const Tell&)>& work,
                     std::chrono::microseconds after);

/// Cases that kill: the plugin is started in the victim first and here after it.
class CrashCase : public PluginCase {
 protected:
  void SetUp() override;
  void TearDown() override;

  /// In the victim: empty, or why the case cannot be.
  std::string start_in_victim();
  /// Looks at what the victim said. False: the case is over.
  bool usable(const Witness& witness);

  std::string directory_;
};

}  // namespace berth::ctl::validate
