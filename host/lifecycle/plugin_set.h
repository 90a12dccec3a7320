// All plugins of this daemon: from files to a running graph, and back.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "abi/instance.h"
#include "abi/library.h"
#include "config/config.h"
#include "graph/graph.h"
#include "lifecycle/discover.h"

namespace berth::lifecycle {

/// A service of the host itself, with a place in the graph like any plugin's.
struct Builtin {
  manifest::Plugin plugin;
  bus::Target* target;
  bool replaces = false;  // an installed plugin with the same URI is left out
};

/// What is known of one plugin, for introspection.
struct PluginView {
  graph::Node node;
  std::vector<std::string> requires_uris;  // plugins that it is bound to
  /// Requirement name -> plugins that would do, whatever their state.
  std::map<std::string, std::vector<std::string>> candidate_uris;
  const bus::Target* target = nullptr;  // nullptr when it never ran
  Status failure;                       // of probe, init or start
  std::string config_json;
  int64_t start_nanoseconds = 0;
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
  /// Stops everything that runs, dependants first.
  void stop(int64_t deadline);

  std::vector<PluginView> views() const;
  /// Client-facing services owed to clients that are not there, with the reason.
  std::map<std::string, std::string> missing_services() const;
  /// Plugins that run and whose services clients may call.
  std::vector<bus::Target*> client_facing() const;
  std::vector<const bus::Target*> targets() const;
  std::vector<manifest::Plugin> plugins() const;

 private:
  struct Running {
    abi::Instance* instance = nullptr;  // never deleted (ABI rule 11); nullptr for built-ins
    bus::Target* target = nullptr;
    Status failure;
    std::string config_json = "{}";
    int64_t start_nanoseconds = 0;
  };

  Status start_node(size_t index);
  /// `where`: probe, init or start; empty when it could not be loaded.
  void failed(size_t index, std::string_view where, const abi::Instance::Step& step);
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
