// The plugin that a case looks at: loaded from its file, on a host of the case's making. One per
// process, set before the cases run; they run on one thread.
#pragma once

#include <berth/client.h>
#include <berth/testing/fake_host.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "abi/library.h"
#include "bus/target.h"
#include "manifest/manifest.h"

namespace berth::ctl::validate {

struct Subject {
  std::string file;
  std::string plugin;  // its URI; empty for the file as a whole
  uint64_t seed = 0;
  std::string config_json;  // of the plugin, defaults filled in
  /// Where the kit of its type has it: host, process, proxy, or daemon.
  std::string placement = "host";
  std::string remote = {};       // daemon: its socket
  std::string snapshotter = {};  // daemon: which of its snapshotters
  /// Ids of the stand-ins that a requirement, by its name, is bound to.
  std::map<std::string, std::vector<std::string>> peers = {};
};

Subject& subject();

/// What a host may do to a plugin without breaking the ABI. Process-wide: the slots of the table
/// have no context.
struct Mischief {
  /// The number of allocations that succeed before all fail; none: all succeed.
  std::optional<uint64_t> allocations_left = std::nullopt;
  bool refuse_threads = false;
  /// Tables of a later minor: longer, with slots that nobody has heard of.
  bool later_minor = false;
};

/// How a call went.
struct Outcome {
  bool ended = false;    // by itself, within the patience
  bool handler = false;  // the handler has ended, too, after a cancel if need be
  Status status;
  uint64_t responses = 0;
  uint64_t bytes = 0;  // of all responses
};

/// A plugin that has been loaded and can be started, more than once.
class PluginUnderTest {
 public:
  /// The manifest, the shared object, the entry; each checked as the daemon does.
  static Result<PluginUnderTest> load();

  const manifest::Plugin& manifest() const { return plugin_; }
  const berth_plugin& table() const { return *table_; }

  /// A peer for requirements of this service, at every start. Others are bound to stand-ins, which
  /// serve nothing: those that subject().peers names, or one where there has to be one.
  using MakePeer = std::function<Target(berth::testing::FakeHost&)>;
  void provide(const std::string& service, MakePeer make) { peers_[service] = std::move(make); }

  /// probe, init, start, with configuration and peers. FAILED_PRECONDITION, UNIMPLEMENTED and
  /// NOT_FOUND from probe are for was_skipped().
  Status start(const Mischief& mischief = {}, const std::string& directory = {});
  bool was_skipped() const { return skipped_; }
  /// Requirements that start() bound to nobody, since the manifest allows it, by name.
  std::vector<std::string> unbound() const;
  /// Within 5 s, as FakeHost does it. Nothing, when it was not started.
  void stop();

  Target target() const { return host_->target(); }
  bus::Target& bus_target() const { return *reinterpret_cast<bus::Target*>(target_.raw()); }

  /// One call of any shape with one request; what does not end within `patience` is cancelled.
  Outcome call(uint32_t method, std::string_view request,
               std::chrono::milliseconds patience = std::chrono::seconds(2)) const;

  /// Memory of the host that the plugin, or a message of its, holds now.
  static int64_t allocations();
  static void set_mischief(const Mischief& mischief);

 private:
  PluginUnderTest() = default;
  /// The ids of the stand-ins for a requirement; of order_only ones, none.
  static std::vector<std::string> stand_ins(const manifest::Requirement& need);

  manifest::Plugin plugin_;
  const berth_plugin* table_ = nullptr;
  std::unique_ptr<berth::testing::FakeHost> host_;
  Target target_;
  std::map<std::string, MakePeer> peers_;  // by service
  bool skipped_ = false;
};

/// What is being done, for the report of a case that crashes or hangs meanwhile.
void doing(const std::string& what);

/// Any request: empty, a few bytes, a field that no message has, plain noise. As the seed has it.
std::string any_request(std::mt19937_64& random);

}  // namespace berth::ctl::validate
