#include "plugin_graph.h"

#include <nlohmann/json.hpp>
#include <set>

#include "command.h"

namespace berth::ctl {
namespace {

namespace pb = berth::host::v1;
using nlohmann::ordered_json;

template <typename List>
std::string joined(const List& list) {
  std::string text;
  for (const std::string& one : list) text += (text.empty() ? "" : ", ") + one;
  return text;
}

std::string_view cardinality(const pb::Requirement& need) {
  if (need.order_only()) return "order only";
  if (need.all()) return "all";
  return need.optional() ? "optional" : "one";
}

/// In quotes, where dot reads escapes and XML's entities.
std::string dot_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? ' ' : c;
    if (c == '&') out += "amp;";
  }
  return out + "\"";
}

struct Options {
  PluginSource source;
  bool dot = false;
  bool json = false;
};

int run(const Options& options) {
  const auto known = known_plugins(options.source);
  if (!known.ok()) {
    std::fprintf(stderr, "berthctl: %s\n", known.status().message().c_str());
    return kNo;
  }
  const std::string text = options.dot    ? graph_dot(*known)
                           : options.json ? graph_json(*known)
                                          : graph_text(*known);
  std::fputs(text.c_str(), stdout);
  return 0;
}

}  // namespace

std::string_view state_name(pb::State state) {
  switch (state) {
    case pb::STATE_DISCOVERED:
      return "would start";
    case pb::STATE_STARTING:
      return "starting";
    case pb::STATE_READY:
      return "ready";
    case pb::STATE_SKIPPED:
      return "skipped";
    case pb::STATE_FAILED:
      return "failed";
    case pb::STATE_DISABLED:
      return "disabled";
    case pb::STATE_STOPPED:
      return "stopped";
    case pb::STATE_BLOCKED:
      return "blocked";
    case pb::STATE_UNRESPONSIVE:
      return "unresponsive";
    default:
      return "unknown";
  }
}

bool is_in(const pb::Plugin& plugin) {
  return plugin.state() == pb::STATE_READY || plugin.state() == pb::STATE_DISCOVERED ||
         plugin.state() == pb::STATE_STARTING || plugin.state() == pb::STATE_UNRESPONSIVE;
}

std::string uri_of(const pb::Plugin& plugin) { return plugin.type() + "." + plugin.id(); }

std::string_view contact_name(pb::Contact contact) {
  switch (contact) {
    case pb::CONTACT_ANSWERS:
      return "answers";
    case pb::CONTACT_NOBODY:
      return "nobody listens";
    case pb::CONTACT_SILENT:
      return "silent";
    case pb::CONTACT_FOREIGN:
      return "no gRPC";
    case pb::CONTACT_FORBIDDEN:
      return "not allowed to ask";
    default:
      return "";
  }
}

std::string wanted_text(const pb::Requirement& need) {
  std::string text = need.type() + "." + need.id();
  if (!need.service().empty()) text += " with " + need.service();
  if (!need.version().empty()) text += " " + need.version();
  return text;
}

std::string graph_text(const KnownPlugins& known) {
  std::string out;
  for (const pb::Plugin& plugin : known.list.plugins()) {
    out += uri_of(plugin);
    if (!plugin.version().empty()) out += " " + plugin.version();
    out += ": " + std::string(state_name(plugin.state()));
    if (plugin.has_proxy()) out += ", at " + plugin.proxy().address();
    // A blocked one's reason is that of another, which stands there; its own is in its
    // requirements.
    if (!plugin.reason().empty() && plugin.state() != pb::STATE_BLOCKED) {
      out += ": " + plugin.reason();
    } else if (plugin.has_proxy() && !plugin.proxy().reason().empty()) {
      out += ", but now " + plugin.proxy().reason();  // files do not make it so
    }
    out += "\n";
    for (const pb::Requirement& need : plugin.requirements()) {
      out += "  " + need.slot() + " (" + std::string(cardinality(need)) + "): ";
      if (need.providers_size() != 0) {
        out += joined(need.providers());
      } else if (need.unmet()) {
        out += "nothing meets " + wanted_text(need);
      } else if (need.candidates_size() != 0) {
        out += (need.order_only() ? "after " : "none of ") + joined(need.candidates());
      } else {
        out += "none";
      }
      out += "\n";
    }
  }
  for (const std::string& problem : known.list.problems()) out += "problem: " + problem + "\n";
  return out;
}

std::string graph_json(const KnownPlugins& known) {
  ordered_json out = {
      {"from", known.from}, {"live", known.live}, {"plugins", ordered_json::array()}};
  for (const pb::Plugin& plugin : known.list.plugins()) {
    ordered_json one = {{"uri", uri_of(plugin)},
                        {"type", plugin.type()},
                        {"id", plugin.id()},
                        {"version", plugin.version()},
                        {"state", state_name(plugin.state())},
                        {"reason", plugin.reason()},
                        {"file", plugin.file()},
                        {"services", plugin.services()},
                        {"requirements", ordered_json::array()}};
    if (plugin.has_proxy()) {
      one["proxy"] = {{"address", plugin.proxy().address()},
                      {"contact", contact_name(plugin.proxy().contact())},
                      {"reason", plugin.proxy().reason()}};
    }
    for (const pb::Requirement& need : plugin.requirements()) {
      one["requirements"].push_back({{"name", need.slot()},
                                     {"type", need.type()},
                                     {"id", need.id()},
                                     {"service", need.service()},
                                     {"version", need.version()},
                                     {"cardinality", cardinality(need)},
                                     {"providers", need.providers()},
                                     {"candidates", need.candidates()}});
    }
    out["plugins"].push_back(std::move(one));
  }
  out["problems"] = known.list.problems();
  return out.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::string graph_dot(const KnownPlugins& known) {
  std::string out = "digraph plugins {\n  rankdir = \"LR\";\n  node [shape = box];\n";
  std::set<std::string> missing;
  for (const pb::Plugin& plugin : known.list.plugins()) {
    const std::string uri = uri_of(plugin);
    out += "  " + dot_text(uri) +
           " [label = " + dot_text(uri + " (" + std::string(state_name(plugin.state())) + ")");
    if (!is_in(plugin)) {
      const bool meant =
          plugin.state() == pb::STATE_DISABLED || plugin.state() == pb::STATE_SKIPPED;
      out += std::string(", color = ") + (meant ? "gray" : "red");
    } else if (plugin.state() == pb::STATE_UNRESPONSIVE) {
      out += ", color = orange";
    }
    if (!plugin.reason().empty()) out += ", tooltip = " + dot_text(plugin.reason());
    out += "];\n";
    for (const pb::Requirement& need : plugin.requirements()) {
      const std::string label = " [label = " + dot_text(need.slot());
      for (const std::string& other : need.providers()) {
        out += "  " + dot_text(uri) + " -> " + dot_text(other) + label +
               (need.optional() ? ", style = dashed" : "") + "];\n";
      }
      if (need.providers_size() != 0) continue;
      const bool needed = !need.optional() && !need.order_only();
      for (const std::string& other : need.candidates()) {
        out += "  " + dot_text(uri) + " -> " + dot_text(other) + label +
               (needed ? ", color = red" : ", style = dotted") + "];\n";
      }
      if (need.unmet() && need.candidates_size() == 0) {
        missing.insert(wanted_text(need));
        out += "  " + dot_text(uri) + " -> " + dot_text(wanted_text(need)) + label +
               ", color = red];\n";
      }
    }
  }
  for (const std::string& wanted : missing) {
    out += "  " + dot_text(wanted) + " [shape = diamond, color = red];\n";
  }
  return out + "}\n";
}

void add_graph(CLI::App& plugin, Action* action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = plugin.add_subcommand(
      "graph", "show all plugins, what each needs and who meets it, in the order of their start");
  options->source.add_options(command);
  auto* dot = command->add_flag("--dot", options->dot, "print a graph for graphviz");
  command->add_flag("--json", options->json, "print JSON")->excludes(dot);
  on_chosen(command, action, options, run);
}

}  // namespace berth::ctl
