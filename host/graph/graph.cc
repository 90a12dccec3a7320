#include "graph/graph.h"

#include <algorithm>

namespace berth::graph {
namespace {

std::string on_one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

bool is_named(const manifest::Plugin& plugin, std::string_view id) {
  return plugin.id == id ||
         std::find(plugin.aliases.begin(), plugin.aliases.end(), id) != plugin.aliases.end();
}

bool is_named_by_uri(const manifest::Plugin& plugin, std::string_view uri) {
  return uri.size() > plugin.type.size() && uri.starts_with(plugin.type) &&
         uri[plugin.type.size()] == '.' && is_named(plugin, uri.substr(plugin.type.size() + 1));
}

bool provides(const manifest::Plugin& plugin, std::string_view service) {
  return service.empty() || std::find(plugin.provides.begin(), plugin.provides.end(), service) !=
                                plugin.provides.end();
}

bool in_range(const manifest::Plugin& plugin, const manifest::Requirement& need) {
  return plugin.version.text().empty() || need.version.contains(plugin.version);
}

std::string blocked_by(const std::string& uri, const std::string& reason) {
  return "it needs " + uri + ", which is not there: " + on_one_line(reason);
}

std::vector<size_t> block_dependants(Graph& graph, size_t gone, const std::string& reason) {
  std::vector<bool> lost(graph.nodes.size(), false);
  lost[gone] = true;
  std::vector<size_t> blocked;
  // Nodes stand after what they need, so one pass in order finds all dependants.
  for (size_t i = gone + 1; i < graph.nodes.size(); ++i) {
    Node& node = graph.nodes[i];
    bool needed = false;
    for (const manifest::Requirement& need : node.plugin.requires_) {
      const auto bound = node.bindings.find(need.name);
      if (bound == node.bindings.end()) continue;
      const size_t removed =
          std::erase_if(bound->second, [&](size_t other) { return lost[other]; });
      needed = needed || (removed != 0 && need.cardinality == manifest::Cardinality::kOne);
    }
    if (!needed || node.state != State::kOk) continue;
    node.state = State::kBlocked;
    node.reason = reason;
    lost[i] = true;
    blocked.push_back(i);
  }
  return blocked;
}

std::vector<size_t> fail(Graph& graph, size_t failed, State state, const std::string& reason) {
  Node& node = graph.nodes[failed];
  if (node.state != State::kOk) return {};
  node.state = state;
  node.reason = on_one_line(reason);
  return block_dependants(graph, failed, blocked_by(node.uri(), reason));
}

std::vector<size_t> candidates(const std::vector<Node>& nodes, size_t index,
                               const manifest::Requirement& need) {
  std::vector<size_t> found;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const manifest::Plugin& plugin = nodes[i].plugin;
    if (i == index || plugin.type != need.type) continue;
    if (need.id != "*" && !is_named(plugin, need.id)) continue;
    if (provides(plugin, need.service) && in_range(plugin, need)) found.push_back(i);
  }
  return found;
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
