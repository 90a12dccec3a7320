#include "graph/graph.h"

#include <algorithm>
#include <functional>

namespace berth::graph {
namespace {

using manifest::Cardinality;
using manifest::Requirement;

std::string described(const Requirement& need) {
  std::string text = need.type + "." + need.id;
  if (!need.service.empty()) text += " with service " + need.service;
  if (!need.version.text().empty()) text += " " + need.version.text();
  return text;
}

std::string place(const Node& node) {
  return node.file.empty() ? node.uri() : node.uri() + " (" + node.file + ")";
}

bool provides(const Node& node, const std::string& service) {
  const auto& list = node.plugin.provides;
  return service.empty() || std::find(list.begin(), list.end(), service) != list.end();
}

bool named(const Node& node, const std::string& id) {
  const auto& aliases = node.plugin.aliases;
  return node.plugin.id == id || std::find(aliases.begin(), aliases.end(), id) != aliases.end();
}

class Resolver {
 public:
  Resolver(std::vector<Candidate> candidates, const Decisions& decisions) : decisions_(decisions) {
    std::stable_sort(candidates.begin(), candidates.end(), [](const auto& a, const auto& b) {
      return std::pair(a.plugin.uri(), a.file) < std::pair(b.plugin.uri(), b.file);
    });
    for (Candidate& candidate : candidates) {
      Node node;
      node.plugin = std::move(candidate.plugin);
      node.file = std::move(candidate.file);
      if (!candidate.failure.empty()) {
        problem(candidate.failure);
        fail_node(node, candidate.failure);
      }
      nodes_.push_back(std::move(node));
    }
  }

  Graph run() {
    mark_disabled();
    mark_duplicates();
    for (size_t i = 0; i < nodes_.size(); ++i) bind(i);
    mark_service_conflicts();
    order();
    block_dependants();
    check_required();
    return std::move(graph_);
  }

 private:
  void problem(std::string text) { graph_.problems.push_back(std::move(text)); }

  void fail_node(Node& node, std::string reason) {
    if (node.state != State::kOk) return;
    node.state = State::kFailed;
    node.reason = std::move(reason);
  }

  void mark_disabled() {
    for (Node& node : nodes_) {
      const bool by_alias = std::any_of(
          node.plugin.aliases.begin(), node.plugin.aliases.end(), [&](const std::string& alias) {
            return decisions_.disabled.contains(node.plugin.type + "." + alias);
          });
      if (by_alias || decisions_.disabled.contains(node.uri())) {
        node.state = State::kDisabled;
        node.reason = "disabled in the configuration (disabled_plugins)";
      }
    }
  }

  void mark_duplicates() {
    for (size_t i = 0; i + 1 < nodes_.size(); ++i) {
      for (size_t j = i + 1; j < nodes_.size() && nodes_[j].uri() == nodes_[i].uri(); ++j) {
        const std::string text = "plugin " + nodes_[i].uri() + " is in two files, " +
                                 nodes_[i].file + " and " + nodes_[j].file + ": remove one of them";
        problem(text);
        fail_node(nodes_[j], text);
      }
    }
  }

  void bind(size_t index) {
    Node& node = nodes_[index];
    if (node.state != State::kOk) return;
    for (const Requirement& need : node.plugin.requires_) bind_one(index, need);
  }

  std::string chosen_id(const Node& node, const Requirement& need) const {
    const auto plugin = decisions_.choices.find(node.uri());
    if (plugin == decisions_.choices.end()) return {};
    const auto choice = plugin->second.find(need.name);
    return choice == plugin->second.end() ? std::string() : choice->second;
  }

  void bind_one(size_t index, const Requirement& need) {
    Node& node = nodes_[index];
    const std::string choice = chosen_id(node, need);
    std::vector<size_t> matches;
    std::string nearly;  // what would have done but for something
    for (size_t i = 0; i < nodes_.size(); ++i) {
      const Node& other = nodes_[i];
      if (i == index || other.plugin.type != need.type) continue;
      if (need.id != "*" && !named(other, need.id)) continue;
      if (!choice.empty() && !named(other, choice)) continue;
      if (other.state == State::kDisabled) {
        nearly += "; " + place(other) + " is " + other.reason;
      } else if (other.state == State::kFailed && need.cardinality == Cardinality::kOne) {
        nearly += "; " + place(other) + " has failed";
      } else if (!provides(other, need.service)) {
        nearly += "; " + place(other) + " does not provide the service";
      } else if (!need.version.contains(other.plugin.version)) {
        nearly += "; " + place(other) + " has version " + other.plugin.version.text() +
                  ": upgrade its package";
      } else {
        matches.push_back(i);
      }
    }
    const std::string wants =
        place(node) + " needs " + described(need) + " as \"" + need.name + "\"";
    if (need.cardinality == Cardinality::kOne && matches.empty()) {
      const std::string text =
          wants + " and there is none" +
          (nearly.empty() ? std::string(": install a plugin that provides it") : nearly);
      problem(text);
      fail_node(node, text);
      return;
    }
    if (need.cardinality != Cardinality::kAll && matches.size() > 1) {
      std::string list;
      for (const size_t match : matches) list += (list.empty() ? "" : ", ") + place(nodes_[match]);
      const std::string text = wants + " and several would do: " + list + "; choose one with " +
                               need.name + " = \"ID\" in [plugins.\"" + node.uri() +
                               "\"] or disable the others";
      problem(text);
      fail_node(node, text);
      return;
    }
    node.bindings[need.name] = std::move(matches);
  }

  /// Two plugins must not serve clients the same service.
  void mark_service_conflicts() {
    std::map<std::string, size_t> owner;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i].state != State::kOk || !nodes_[i].plugin.client_facing) continue;
      for (const std::string& service : nodes_[i].plugin.provides) {
        const auto [first, fresh] = owner.emplace(service, i);
        if (fresh) continue;
        const std::string text = "service " + service + " is offered to clients by " +
                                 place(nodes_[first->second]) + " and by " + place(nodes_[i]) +
                                 ": disable one of them";
        problem(text);
        fail_node(nodes_[i], text);
      }
    }
  }

  /// Depth-first, in order of URI; what lies on a cycle has failed.
  void order() {
    enum class Mark { kNew, kOpen, kDone };
    std::vector<Mark> marks(nodes_.size(), Mark::kNew);
    std::vector<size_t> path;
    std::vector<size_t> sorted;
    std::set<std::set<size_t>> known_cycles;
    const std::function<void(size_t)> visit = [&](size_t index) {
      marks[index] = Mark::kOpen;
      path.push_back(index);
      std::set<size_t> next;
      for (const auto& [name, bound] : nodes_[index].bindings)
        next.insert(bound.begin(), bound.end());
      for (const size_t other : next) {
        if (marks[other] == Mark::kNew) {
          visit(other);
        } else if (marks[other] == Mark::kOpen) {
          report_cycle({std::find(path.begin(), path.end(), other), path.end()}, &known_cycles);
        }
      }
      path.pop_back();
      marks[index] = Mark::kDone;
      sorted.push_back(index);
    };
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (marks[i] == Mark::kNew) visit(i);
    }
    std::vector<size_t> position(nodes_.size());
    for (size_t i = 0; i < sorted.size(); ++i) position[sorted[i]] = i;
    for (const size_t index : sorted) {
      Node node = std::move(nodes_[index]);
      for (auto& [name, bound] : node.bindings) {
        for (size_t& other : bound) other = position[other];
      }
      graph_.nodes.push_back(std::move(node));
    }
  }

  void report_cycle(const std::vector<size_t>& cycle, std::set<std::set<size_t>>* known) {
    if (!known->insert({cycle.begin(), cycle.end()}).second) return;
    std::string text = "plugins need one another in a circle: ";
    for (const size_t index : cycle) text += place(nodes_[index]) + " -> ";
    text += nodes_[cycle.front()].uri();
    problem(text);
    for (const size_t index : cycle) fail_node(nodes_[index], text);
  }

  void block_dependants() {
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      if (node.state == State::kOk || node.state == State::kBlocked) continue;
      (void)fail(graph_, i, node.state, node.reason);
    }
  }

  void check_required() {
    for (const std::string& uri : decisions_.required) {
      const auto found =
          std::find_if(graph_.nodes.begin(), graph_.nodes.end(), [&](const Node& node) {
            return node.uri() == uri ||
                   std::any_of(node.plugin.aliases.begin(), node.plugin.aliases.end(),
                               [&](const std::string& alias) {
                                 return node.plugin.type + "." + alias == uri;
                               });
          });
      if (found != graph_.nodes.end() && found->state == State::kOk) continue;
      const std::string text = "plugin " + uri +
                               " is required by the configuration (required_plugins) and " +
                               (found == graph_.nodes.end() ? std::string("is not installed")
                                                            : "cannot run: " + found->reason);
      problem(text);
      graph_.fatal.push_back(text);
    }
  }

  const Decisions& decisions_;
  std::vector<Node> nodes_;
  Graph graph_;
};

}  // namespace

Graph resolve(std::vector<Candidate> candidates, const Decisions& decisions) {
  return Resolver(std::move(candidates), decisions).run();
}

std::vector<size_t> fail(Graph& graph, size_t failed, State state, const std::string& reason) {
  graph.nodes[failed].state = state;
  graph.nodes[failed].reason = reason;
  const std::string root = graph.nodes[failed].uri();
  std::set<size_t> gone{failed};
  std::vector<size_t> blocked;
  // Nodes stand after what they need, so one pass in order finds all dependants.
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    Node& node = graph.nodes[i];
    if (i == failed) continue;
    bool needed = false;
    for (const Requirement& need : node.plugin.requires_) {
      const auto bound = node.bindings.find(need.name);
      if (bound == node.bindings.end()) continue;
      const size_t before = bound->second.size();
      std::erase_if(bound->second, [&](size_t other) { return gone.contains(other); });
      needed = needed || (bound->second.size() != before && need.cardinality == Cardinality::kOne);
    }
    if (!needed || node.state != State::kOk) continue;
    node.state = State::kBlocked;
    node.reason = "it needs " + root + ", which is not there: " + reason;
    gone.insert(i);
    blocked.push_back(i);
  }
  return blocked;
}

std::map<std::string, std::string> missing_services(const Graph& graph) {
  std::map<std::string, std::string> missing;
  std::set<std::string> served;
  for (const Node& node : graph.nodes) {
    if (!node.plugin.client_facing) continue;
    for (const std::string& service : node.plugin.provides) {
      if (node.state == State::kOk) {
        served.insert(service);
      } else if (!node.plugin.optional && node.state != State::kDisabled) {
        missing[service] = "plugin " + node.uri() + " does not run: " + node.reason;
      }
    }
  }
  for (const std::string& service : served) missing.erase(service);
  return missing;
}

}  // namespace berth::graph
