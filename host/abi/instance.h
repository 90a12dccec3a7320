// One running plugin: its side of the lifecycle, and what it sees of the host.
#pragma once

#include <berth/abi.h>
#include <berth/status.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "abi/placed.h"
#include "bus/host_table.h"
#include "bus/target.h"

namespace berth::abi {

/// What all plugins are told about the daemon.
struct HostFacts {
  std::string root;
  std::string state;
  std::string address;
  std::string ttrpc_address;
  std::string version;
};

struct InstanceSettings {
  std::string type;
  std::string id;
  std::string entry_id;      // the id in the manifest, where config gave another one
  std::string capabilities;  // comma-separated
  std::string config_json;   // an object, defaults filled in
  /// Bound plugins by requirement name, in order of URI.
  std::map<std::string, std::vector<bus::Target*>> bindings;
  /// Told when the plugin reports itself unhealthy; may be empty.
  std::function<void(const std::string&)> tell_unhealthy;
};

/// A plugin in this process.
class Instance final : public bus::SelfView, public Placed {
 public:
  Instance(const berth_plugin& plugin, InstanceSettings settings, const HostFacts& host);

  Step probe() override;
  Step init() override;
  Step start() override;
  void ready() override;
  void stop(int64_t deadline) override;

  bus::Target& target() override { return *target_; }
  const bus::Target& target() const { return *target_; }

  std::string_view property(std::string_view name) override;
  std::string_view config(std::string_view path) override;
  void log(uint32_t level, std::string_view text, const berth_header* fields,
           uint32_t count) override;
  void unhealthy(std::string_view why) override;
  void fail(Status why) override { failure_ = std::move(why); }
  uint32_t bound(std::string_view requirement) override;
  bus::Target* connect(std::string_view requirement, uint32_t index) override;

 private:
  Step outcome(std::string_view what, int32_t code);
  std::string_view keep(std::string text);

  const berth_plugin& plugin_;
  const InstanceSettings settings_;
  const HostFacts& host_;
  bus::Target* target_;       // never deleted: others hold it for ever
  void* instance_ = nullptr;  // the plugin's, which may have none
  bool initialized_ = false;
  Status failure_;
  std::mutex mutex_;
  std::map<std::string, std::string, std::less<>>
      texts_;  // guarded by mutex_; answers that live for ever
};

}  // namespace berth::abi
