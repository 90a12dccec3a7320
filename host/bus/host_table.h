// The host's side of the ABI: the one berth_host table, and what an instance (berth_self) answers.
#pragma once

#include <berth/abi.h>
#include <berth/status.h>

#include <string>
#include <string_view>

#include "bus/call.h"

namespace berth::bus {

/// What the host knows of one plugin instance. Its address is the instance's berth_self. Lives for
/// ever.
class SelfView {
 public:
  virtual ~SelfView() = default;
  /// Texts live for ever. Any thread.
  virtual std::string_view property(std::string_view name) = 0;
  virtual std::string_view config(std::string_view path) = 0;
  virtual void log(uint32_t level, std::string_view text, const berth_header* fields,
                   uint32_t count) = 0;
  virtual void unhealthy(std::string_view why) = 0;
  /// During probe, init and start only.
  virtual void fail(Status why) = 0;
  virtual uint32_t bound(std::string_view requirement) = 0;
  virtual Target* connect(std::string_view requirement, uint32_t index) = 0;
};

inline berth_self* handle_of(SelfView* self) { return reinterpret_cast<berth_self*>(self); }
inline berth_target* handle_of(Target* target) { return reinterpret_cast<berth_target*>(target); }

/// The table; also installs it for the façade inside the host itself.
const berth_host& host_table();

/// Settings of a call made through the ABI.
CallSettings settings_of(const berth_call_options* options);

}  // namespace berth::bus
