#include "graph/resolve.h"

#include <algorithm>

#include "graph/order.h"

namespace berth::graph {
namespace {

using manifest::Cardinality;
using manifest::Requirement;

constexpr std::string_view kDisabled = "disabled in the configuration (disabled_plugins)";

std::string described(const Requirement& need) {
  std::string text = need.type + "." + need.id;
  if (!need.service.empty()) text += " with service " + need.service;
  if (!need.version.text().empty()) text += " " + need.version.text();
  return text;
}

std::string place(const Node& node) {
  return node.uri() + " (" + (node.file.empty() ? "berthd itself" : node.file) + ")";
}

/// Candidates for one requirement, by what keeps them from it.
struct Matches {
  std::vector<size_t> good;
  std::vector<size_t> disabled;  // would be good
  std::vector<size_t> other_version;
  std::vector<size_t> other_service;
  std::vector<size_t> not_chosen;  // would be good, but config names another one
};

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
      failures_.push_back(std::move(candidate.failure));
      nodes_.push_back(std::move(node));
    }
    edges_.resize(nodes_.size());
  }

  Graph run() {
    mark_disabled();
    mark_failures();
    mark_duplicates();
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i].state == State::kDisabled || !failures_[i].empty()) continue;
      for (const Requirement& need : nodes_[i].plugin.requires_) bind(i, need);
    }
    mark_service_conflicts();
    arrange();
    block();
    check_required();
    return std::move(graph_);
  }

 private:
  void problem(std::string text) { graph_.problems.push_back(std::move(text)); }

  /// The first reason stays.
  void fail_node(Node& node, const std::string& reason) {
    if (node.state == State::kDisabled || node.state == State::kFailed) return;
    node.state = State::kFailed;
    node.reason = reason;
  }

  void mark_disabled() {
    for (Node& node : nodes_) {
      if (std::none_of(decisions_.disabled.begin(), decisions_.disabled.end(),
                       [&](const std::string& uri) { return is_named_by_uri(node.plugin, uri); })) {
        continue;
      }
      node.state = State::kDisabled;
      node.reason = kDisabled;
    }
  }

  void mark_failures() {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (failures_[i].empty() || nodes_[i].state == State::kDisabled) continue;
      problem(failures_[i]);
      fail_node(nodes_[i], failures_[i]);
    }
  }

  void mark_duplicates() {
    for (size_t begin = 0, end = 0; begin < nodes_.size(); begin = end) {
      while (end < nodes_.size() && nodes_[end].uri() == nodes_[begin].uri()) ++end;
      if (end - begin < 2 || nodes_[begin].state == State::kDisabled) continue;
      std::string files;
      for (size_t i = begin; i < end; ++i) {
        files += (i == begin ? "" : i + 1 == end ? " and " : ", ");
        files += nodes_[i].file.empty() ? "berthd itself" : nodes_[i].file;
      }
      const std::string text = "plugin " + nodes_[begin].uri() + " is in several files, " + files +
                               ": remove all but one, or disable it with disabled_plugins";
      problem(text);
      for (size_t i = begin; i < end; ++i) {
        if (!nodes_[i].file.empty()) fail_node(nodes_[i], text);  // the host's own stays
      }
    }
  }

  std::string chosen_id(const Node& node, const Requirement& need) const {
    const auto plugin = decisions_.choices.find(node.uri());
    if (plugin == decisions_.choices.end()) return {};
    const auto choice = plugin->second.find(need.name);
    return choice == plugin->second.end() ? std::string() : choice->second;
  }

  /// Failed candidates match like others: a plugin is blocked by the one it would have got, and
  /// storage does not move to another plugin because the usual one did not come up.
  Matches match(size_t index, const Requirement& need, const std::string& choice) const {
    Matches found;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      const Node& other = nodes_[i];
      if (i == index || other.plugin.type != need.type) continue;
      if (need.id != "*" && !is_named(other.plugin, need.id)) continue;
      if (i > 0 && nodes_[i - 1].uri() == other.uri())
        continue;  // a duplicate; the first stands for it
      if (!provides(other.plugin, need.service)) {
        found.other_service.push_back(i);
      } else if (!in_range(other.plugin, need)) {
        found.other_version.push_back(i);
      } else if (!choice.empty() && !is_named(other.plugin, choice)) {
        found.not_chosen.push_back(i);
      } else if (other.state == State::kDisabled) {
        found.disabled.push_back(i);
      } else {
        found.good.push_back(i);
      }
    }
    return found;
  }

  std::string places(const std::vector<size_t>& list) const {
    std::string text;
    for (const size_t one : list) text += (text.empty() ? "" : ", ") + place(nodes_[one]);
    return text;
  }

  void bind(size_t index, const Requirement& need) {
    Node& node = nodes_[index];
    if (need.order_only) {
      const Matches found = match(index, need, {});
      edges_[index].insert(edges_[index].end(), found.good.begin(), found.good.end());
      return;
    }
    const bool single = need.cardinality != Cardinality::kAll;
    const std::string choice = single ? chosen_id(node, need) : std::string();
    Matches found = match(index, need, choice);
    const std::string wants =
        place(node) + " needs " + described(need) + " as \"" + need.name + "\"";

    if (single && found.good.size() > 1) {
      const std::string text = wants + " and several would do: " + places(found.good) +
                               "; choose one, for example " + need.name + " = \"" +
                               nodes_[found.good.front()].plugin.id + "\" in [plugins.\"" +
                               node.uri() + "\"], or name the others in disabled_plugins";
      problem(text);
      fail_node(node, text);
      return;
    }
    if (found.good.empty() && (need.cardinality == Cardinality::kOne || !choice.empty())) {
      refuse(index, need, choice, wants, found);
      return;
    }
    if (need.cardinality != Cardinality::kOne) {
      for (const size_t other : found.other_version) {
        problem(wants + "; " + version_of(other) + ": upgrade one of the two packages; " +
                node.uri() + " goes on without it");
      }
    }
    edges_[index].insert(edges_[index].end(), found.good.begin(), found.good.end());
    node.bindings[need.name] = std::move(found.good);
  }

  std::string version_of(size_t index) const {
    return place(nodes_[index]) + " has version " + nodes_[index].plugin.version.text();
  }

  /// Nothing meets a requirement that must be met.
  void refuse(size_t index, const Requirement& need, const std::string& choice,
              const std::string& wants, const Matches& found) {
    Node& node = nodes_[index];
    if (!found.disabled.empty()) {
      // The administrator's decision and no mistake: a blocked plugin, not a problem.
      if (node.state != State::kOk) return;
      node.state = State::kBlocked;
      node.reason = "it needs " + described(need) + " as \"" + need.name + "\", and " +
                    place(nodes_[found.disabled.front()]) + " is " + std::string(kDisabled);
      return;
    }
    node.unmet.insert(need.name);
    std::string text = wants;
    if (!choice.empty()) {
      text += "; the configuration chooses " + need.name + " = \"" + choice + "\" in [plugins.\"" +
              node.uri() + "\"], which is not there";
      if (!found.not_chosen.empty()) text += "; there is " + places(found.not_chosen);
    } else {
      text += " and there is none";
    }
    for (const size_t other : found.other_version) {
      text += "; " + version_of(other) + ": upgrade one of the two packages";
    }
    for (const size_t other : found.other_service) {
      text += "; " + place(nodes_[other]) + " does not provide the service";
    }
    if (choice.empty() && found.other_version.empty() && found.other_service.empty()) {
      text += ": install a plugin that provides it, or name " + node.uri() + " in disabled_plugins";
    }
    problem(text);
    fail_node(node, text);
  }

  /// Two plugins must not serve clients the same service; the host's own services are the host's.
  void mark_service_conflicts() {
    std::map<std::string, std::vector<size_t>> owners;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i].state == State::kDisabled || !nodes_[i].plugin.client_facing) continue;
      if (i > 0 && nodes_[i - 1].uri() == nodes_[i].uri()) continue;  // reported as a duplicate
      const auto& list = nodes_[i].plugin.provides;
      for (const std::string& service : std::set<std::string>(list.begin(), list.end())) {
        owners[service].push_back(i);
      }
    }
    for (const auto& [service, list] : owners) {
      if (list.size() < 2) continue;
      const std::string text = "service " + service + " is offered to clients by " + places(list) +
                               ": name all but one in disabled_plugins";
      problem(text);
      for (const size_t one : list) {
        if (!nodes_[one].file.empty()) fail_node(nodes_[one], text);
      }
    }
  }

  /// Puts the nodes in the order to start; what lies on a cycle has failed.
  void arrange() {
    for (std::vector<size_t>& list : edges_) {
      std::sort(list.begin(), list.end());
      list.erase(std::unique(list.begin(), list.end()), list.end());
    }
    const std::vector<size_t> component = components(edges_);
    report_cycles(component);
    const std::vector<size_t> order = topological_order(edges_, component);
    std::vector<size_t> position(nodes_.size());
    for (size_t i = 0; i < order.size(); ++i) position[order[i]] = i;
    for (const size_t index : order) {
      Node node = std::move(nodes_[index]);
      for (auto& [name, bound] : node.bindings) {
        for (size_t& other : bound) other = position[other];
      }
      graph_.nodes.push_back(std::move(node));
    }
  }

  /// One shortest cycle for every plugin that lies on one, unless a cycle already reported has it.
  void report_cycles(const std::vector<size_t>& component) {
    std::vector<size_t> size(nodes_.size(), 0);
    for (const size_t one : component) ++size[one];
    std::vector<bool> reported(nodes_.size(), false);
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (size[component[i]] < 2 || reported[i]) continue;
      const std::vector<size_t> cycle = cycle_through(edges_, i);
      std::string text = "plugins need one another in a circle: ";
      for (const size_t one : cycle) text += place(nodes_[one]) + " -> ";
      text += nodes_[i].uri() + "; name one of them in disabled_plugins, or ask their vendors";
      problem(text);
      for (const size_t one : cycle) {
        reported[one] = true;
        fail_node(nodes_[one], text);
      }
    }
  }

  /// Each node that does not run takes its dependants with it. Those on cycles have all failed
  /// already, so the order holds for what is left.
  void block() {
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      if (node.state == State::kOk || blocked_before_.contains(i)) continue;
      for (const size_t one : block_dependants(graph_, i, blocked_by(node.uri(), node.reason))) {
        blocked_before_.insert(one);
      }
    }
    for (Node& node : graph_.nodes) {  // a cycle's edges lead backwards, too
      for (auto& [name, bound] : node.bindings) {
        std::erase_if(bound, [&](size_t other) { return graph_.nodes[other].state != State::kOk; });
      }
    }
  }

  void check_required() {
    for (const std::string& uri : decisions_.required) {
      const auto found =
          std::find_if(graph_.nodes.begin(), graph_.nodes.end(),
                       [&](const Node& node) { return is_named_by_uri(node.plugin, uri); });
      if (found != graph_.nodes.end() && found->state == State::kOk) continue;
      const std::string text =
          "plugin " + uri + " is required by the configuration (required_plugins) and " +
          (found == graph_.nodes.end() ? std::string("is not installed: install its package")
                                       : "cannot run: " + found->reason);
      problem(text);
      graph_.fatal.push_back(text);
    }
  }

  const Decisions& decisions_;
  std::vector<Node> nodes_;            // in order of URI until arrange()
  std::vector<std::string> failures_;  // of nodes_
  Edges edges_;                        // of nodes_
  Graph graph_;
  std::set<size_t> blocked_before_;  // of graph_.nodes: with their dependants by block()
};

}  // namespace

Graph resolve(std::vector<Candidate> candidates, const Decisions& decisions) {
  return Resolver(std::move(candidates), decisions).run();
}

}  // namespace berth::graph
