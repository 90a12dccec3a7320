// What the host and a plugin's process say to one another about the plugin's life.
#pragma once

#include <berth/status.h>

#include <map>
#include <string>
#include <vector>

#include "abi/instance.h"
#include "link/frame.h"
#include "link/link.h"

namespace berth::link {

/// Both programs must have the same: they are of one package, but either may have been started
/// before an upgrade.
inline constexpr uint32_t kVersion = 2;

/// kLoaded.
struct Loaded {
  uint32_t version = kVersion;
  std::vector<ServiceFacts> services;
};
std::string encode(const Loaded& loaded);
Result<Loaded> decode_loaded(std::string_view payload);

/// A plugin that the process is connected to.
struct OfferedTarget {
  uint32_t number = 0;
  bus::Target::Identity identity;
  std::vector<ServiceFacts> services;
};
/// kLogLevel, and part of kSettings.
struct LogSettings {
  std::string level, format;  // as the configuration has them
};
std::string encode(const LogSettings& log);
Result<LogSettings> decode_log_settings(std::string_view payload);

/// kSettings: what the process makes its instance from.
struct Settings {
  abi::HostFacts host;
  abi::InstanceSettings instance;  // without bindings
  LogSettings log;
  std::map<std::string, std::vector<OfferedTarget>> bindings;
};
std::string encode(const Settings& settings);
Result<Settings> decode_settings(std::string_view payload);

enum class StepName : uint32_t { kLoad, kProbe, kInit, kStart, kStop };
std::string_view name_of(StepName step);

/// kStep; `deadline` is for kStop.
struct StepOrder {
  StepName step{};
  int64_t deadline = BERTH_FOREVER;
};
std::string encode(const StepOrder& order);
Result<StepOrder> decode_step(std::string_view payload);

/// kOutcome.
struct StepOutcome {
  StepName step{};
  abi::Instance::Step result;
};
std::string encode(const StepOutcome& outcome);
Result<StepOutcome> decode_outcome(std::string_view payload);

/// kLog: a line as spdlog has it. Those of ops::log() begin with their mark.
struct LogLine {
  uint32_t level = 0;  // spdlog's
  std::string text;
};
std::string encode(const LogLine& line);
Result<LogLine> decode_log(std::string_view payload);

}  // namespace berth::link
