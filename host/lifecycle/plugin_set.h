// All plugins of this daemon: from files to a running graph, and back.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "abi/instance.h"
#include "abi/library.h"
#include "config/config.h"
#include "graph/graph.h"
#include "lifecycle/discover.h"
#include "process/process_plugin.h"

namespace berth::lifecycle {

/// A service of the host itself, or of another program, with a place in the graph like any
/// plugin's.
struct Builtin {
  manifest::Plugin plugin;
  bus::Target* target;
  bool replaces = false;                     // an installed plugin with the same URI is left out
  std::optional<config::ProxyPlugin> proxy;  // of another program
};

/// What is known of one plugin, for introspection.
struct PluginView {
  graph::Node node;
  std::vector<std::string> requires_uris;  // plugins that it is bound to
  /// Requirement name -> plugins that would do, whatever their state.
  std::map<std::string, std::vector<std::string>> candidate_uris;
  const bus::Target* target = nullptr;  // nullptr when it never ran
  Status failure;                       // of probe, init or start
  Status first_failure;                 // the same of one that is started again in the background
  std::string config_json;
  int64_t start_nanoseconds = 0;
  std::optional<process::ProcessFacts> process;  // of one that runs in a process of its own
  std::optional<config::ProxyPlugin> proxy;      // of one of another program
};

/// Set up on one thread; the views may be taken from any.
class PluginSet {
 public:
  PluginSet(const config::Config& config, const abi::HostFacts& host);

  /// Finds plugins and resolves the graph; runs no plugin code. `diagnostics` receives what is
  /// wrong with the plugins' configuration sections.
  void resolve(std::vector<Builtin> builtins, std::vector<config::Diagnostic>* diagnostics);
  /// All that is wrong so far, one line each; a subset is fatal (required plugins).
  std::vector<std::string> problems() const;
  std::vector<std::string> fatal() const;

  /// Loads and starts everything in order: probe, init, start, ready. Not OK only when a required
  /// plugin failed.
  Status start();
  /// The log's settings, told to the plugins that have processes of their own.
  void set_log(const link::LogSettings& log);
  /// Stops everything that runs, dependants first.
  void stop(int64_t deadline);

  std::vector<PluginView> views() const;
  /// Client-facing services owed to clients that are not there, with the reason.
  std::map<std::string, std::string> missing_services() const;
  /// Plugins that run and whose services clients may call.
  std::vector<bus::Target*> client_facing() const;
  std::vector<const bus::Target*> targets() const;
  std::vector<manifest::Plugin> plugins() const;
  /// URI and facts of each plugin that has a process of its own.
  std::vector<std::pair<std::string, process::ProcessFacts>> processes() const;

 private:
  struct Running {
    abi::Placed* instance = nullptr;  // never deleted (ABI rule 11); nullptr for built-ins
    process::ProcessPlugin* process = nullptr;  // the same, when it has one of its own
    bus::Target* target = nullptr;
    Status failure, first_failure;  // as in PluginView
    std::string config_json = "{}";
    int64_t start_nanoseconds = 0;
  };

  /// nullptr for a plugin that has a file.
  const Builtin* builtin_of(const graph::Node& node) const;
  Status start_node(size_t index);
  /// Its first start failed, and is tried again: until then it takes no calls.
  void late(size_t index, std::string_view where, const Status& why, abi::Placed* instance);
  abi::InstanceSettings settings_for(size_t index) const;
  /// In this process or in one of its own, as the configuration has it.
  Result<abi::Placed*> place(size_t index);
  /// `where`: probe, init or start; empty when it could not be loaded.
  void failed(size_t index, std::string_view where, const abi::Placed::Step& step);
  Result<const berth_plugin*> load(const graph::Node& node);

  const config::Config& config_;
  const abi::HostFacts& host_;
  Discovery discovery_;
  std::vector<Builtin> builtins_;
  std::map<std::string, abi::Library> libraries_;
  mutable std::mutex mutex_;
  graph::Graph graph_;            // guarded by mutex_
  std::vector<Running> running_;  // guarded by mutex_; as graph_.nodes
};

}  // namespace berth::lifecycle
