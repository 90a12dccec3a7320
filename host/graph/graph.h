// The plugin graph, resolved from manifests and configuration before any plugin is loaded. Pure
// data and pure functions: no file is read, no plugin touched; the same input gives the same output
// in the same order.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "manifest/manifest.h"

namespace berth::graph {

/// A plugin that could run.
struct Candidate {
  std::string file;  // where it comes from, for messages; empty for the host's own
  manifest::Plugin plugin;
  std::string failure = {};  // why it cannot run, known before the graph (another ABI); else empty
};

/// What the administrator has decided. A plugin's alias counts as its id.
struct Decisions {
  std::set<std::string> disabled;  // URIs
  std::set<std::string> required;  // URIs
  /// Plugin URI -> requirement name -> id of the plugin that it shall be bound to.
  std::map<std::string, std::map<std::string, std::string>> choices;
};

enum class State {
  kOk,
  kDisabled,  // by disabled_plugins
  kSkipped,   // its probe says that this machine lacks what it needs; at run time only
  kFailed,    // for a reason of its own
  kBlocked,   // needs one that is not there
};

struct Node {
  manifest::Plugin plugin;
  std::string file;
  State state = State::kOk;
  std::string reason;  // one line; empty when kOk
  /// Requirement name -> the nodes bound to it, indices into Graph::nodes.
  std::map<std::string, std::vector<size_t>> bindings;

  /// Names of requirements that must be met and that nothing installed meets.
  std::set<std::string> unmet;

  std::string uri() const { return plugin.uri(); }
};

struct Graph {
  std::vector<Node> nodes;            // in the order to start
  std::vector<std::string> problems;  // all that is wrong, one line each; nodes that are blocked by
                                      // them say so themselves
  std::vector<std::string> fatal;     // those for which the daemon must not run
};

/// Resolves everything at once; never fails, the graph has what is wrong. A requirement that is
/// order_only gives no binding and is never missing. A plugin that cannot run still counts where a
/// requirement is bound: who needs it is blocked, and does not get another one in its place.
Graph resolve(std::vector<Candidate> candidates, const Decisions& decisions);

/// At run time: marks a node that was kOk as `state` for `reason`, takes it out of the bindings of
/// others, and blocks those that cannot do without it, transitively, each with one line that names
/// the root cause. Returns the newly blocked ones, in order; none when the node was not kOk.
std::vector<size_t> fail(Graph& graph, size_t failed, State state, const std::string& reason);

/// Nodes that would meet a requirement of node `index`, whatever their state and whatever the
/// configuration chooses; indices into `nodes`.
std::vector<size_t> candidates(const std::vector<Node>& nodes, size_t index,
                               const manifest::Requirement& need);

/// Client-facing services that should be served and are not, with the reason. Plugins that are
/// optional or disabled are not missed.
std::map<std::string, std::string> missing_services(const Graph& graph);

}  // namespace berth::graph
