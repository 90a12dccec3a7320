#include "why.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include "command.h"
#include "plugin_graph.h"
#include "plugin_names.h"
#include "whereabouts.h"

namespace berth::ctl {
namespace {

namespace pb = berth::host::v1;
using nlohmann::ordered_json;

constexpr const char* kAbsent = "absent";
constexpr const char* kAmbiguous = "ambiguous";

bool is_needed(const pb::Requirement& need) { return !need.optional() && !need.order_only(); }

class Explainer {
 public:
  explicit Explainer(const KnownPlugins& known) : known_(known) {
    // Where one plugin is in several files, the first stands for it: all of them say so.
    for (const pb::Plugin& plugin : known.list.plugins()) by_uri_.emplace(uri_of(plugin), &plugin);
  }

  std::vector<Explanation> explain(const std::string& name) const {
    std::vector<Explanation> all = explain_exactly(name);
    if (!all.empty()) return all;
    const std::vector<std::string> meant = ending_with(known_.list, name);
    if (meant.size() == 1) return explain_exactly(meant.front());
    return {meant.empty() ? absent(name) : ambiguous(name, meant)};
  }

 private:
  std::vector<Explanation> explain_exactly(const std::string& name) const {
    std::vector<Explanation> all;
    for (const pb::Plugin& plugin : known_.list.plugins()) {
      if (is_named(plugin, name)) all.push_back(explain(plugin));
    }
    if (!all.empty()) return all;
    for (const pb::Plugin& plugin : known_.list.plugins()) {
      const auto& services = plugin.services();
      if (std::find(services.begin(), services.end(), name) != services.end()) {
        all.push_back(explain(plugin));
      }
    }
    return all;
  }

  static bool is_named(const pb::Plugin& plugin, const std::string& name) {
    if (uri_of(plugin) == name) return true;
    return std::any_of(plugin.aliases().begin(), plugin.aliases().end(),
                       [&](const std::string& id) { return plugin.type() + "." + id == name; });
  }

  static Link link_to(const pb::Plugin& plugin, const std::string& slot) {
    Link link{uri_of(plugin), plugin.file(), std::string(state_name(plugin.state())), {}, slot};
    // Where the reason is another plugin, or one that is not there, the next link has it.
    const auto& needs = plugin.requirements();
    const bool lacks = std::any_of(needs.begin(), needs.end(), [](const pb::Requirement& need) {
      return need.unmet() && need.candidates_size() == 0;
    });
    if (plugin.state() != pb::STATE_BLOCKED && !lacks) link.reason = plugin.reason();
    return link;
  }

  /// What a plugin that is out waits for: what is not there at all, and plugins that are out, each
  /// with the requirements that lead to it.
  std::vector<Link> next(const pb::Plugin& plugin) const {
    std::vector<Link> links;
    const auto add = [&links](Link link) {
      for (Link& known : links) {
        if (known.uri != link.uri) continue;
        known.slot += ", " + link.slot;
        return;
      }
      links.push_back(std::move(link));
    };
    for (const pb::Requirement& need : plugin.requirements()) {
      if (!is_needed(need) || need.providers_size() != 0) continue;
      if (need.unmet()) add({wanted_text(need), {}, kAbsent, {}, need.slot()});
      for (const std::string& uri : need.candidates()) {
        const auto found = by_uri_.find(uri);
        if (found == by_uri_.end() || is_in(*found->second) || need.unmet()) continue;
        add(link_to(*found->second, need.slot()));
      }
    }
    return links;
  }

  /// All ways from `plugin` to what is not out for the sake of another.
  void follow(const pb::Plugin& plugin, const std::vector<Link>& way, std::set<std::string> seen,
              std::vector<std::vector<Link>>* chains) const {
    seen.insert(uri_of(plugin));
    for (const Link& link : next(plugin)) {
      if (seen.contains(link.uri)) continue;  // a circle says so itself
      std::vector<Link> longer = way;
      longer.push_back(link);
      const auto found = by_uri_.find(link.uri);
      const size_t before = chains->size();
      if (found != by_uri_.end()) follow(*found->second, longer, seen, chains);
      if (chains->size() == before) chains->push_back(std::move(longer));
    }
  }

  Explanation explain(const pb::Plugin& plugin) const {
    Explanation out;
    out.plugin = link_to(plugin, {});
    out.in = is_in(plugin);
    if (plugin.has_process()) out.process = plugin.process();
    if (plugin.has_proxy()) out.proxy = plugin.proxy();
    const std::string uri = uri_of(plugin);
    for (const pb::Requirement& need : plugin.requirements()) {
      for (const std::string& other : need.providers()) {
        const auto found = by_uri_.find(other);
        const auto state =
            found == by_uri_.end() ? std::string_view() : state_name(found->second->state());
        out.bound_to.push_back({other, {}, std::string(state), {}, need.slot()});
      }
    }
    if (plugin.state() == pb::STATE_BLOCKED || plugin.state() == pb::STATE_FAILED) {
      follow(plugin, {}, {}, &out.chains);
      if (out.chains.empty()) out.plugin.reason = plugin.reason();
    }
    if (!out.in) advise(&out);
    if (plugin.state() == pb::STATE_STARTING) {
      out.advice.push_back(
          "wait: berthd starts it again by itself; where it keeps ending, the log says how");
    }
    for (std::string& line : advice_on_answering(plugin, known_.live)) {
      out.advice.push_back(std::move(line));
    }
    for (const pb::Plugin& other : known_.list.plugins()) {
      for (const pb::Requirement& need : other.requirements()) {
        const auto& list = out.in ? need.providers() : need.candidates();
        const bool counts = out.in || (is_needed(need) && need.providers_size() == 0);
        if (!counts || std::find(list.begin(), list.end(), uri) == list.end()) continue;
        out.needed_by.push_back(uri_of(other));
        break;
      }
    }
    return out;
  }

  void advise(Explanation* out) const {
    std::set<std::string> said;
    const auto say = [&](const Link& root) {
      std::string text;
      if (root.state == "disabled") {
        text = "take \"" + root.uri + "\" out of disabled_plugins, if it is wanted";
      } else if (root.state == kAbsent) {
        text = "install a plugin that is " + root.uri;
      } else if (root.state == "skipped") {
        text = "give this machine what " + root.uri +
               " lacks, or leave it as it is: a skipped "
               "plugin is no error";
      } else if (root.state == "stopped") {
        text = "the daemon is stopping: ask again when it runs";
      } else {
        text = "mend what is wrong with " + root.uri + " (above), or name it in disabled_plugins";
      }
      if (said.insert(text).second) out->advice.push_back(text);
    };
    if (out->chains.empty()) return say(out->plugin);
    for (const auto& chain : out->chains) say(chain.back());
    if (known_.live) out->advice.push_back("then restart berthd");
  }

  Explanation absent(const std::string& name) const {
    Explanation out;
    out.plugin = {name, {}, kAbsent, "no plugin file that could be read has it", {}};
    for (const pb::Plugin& plugin : known_.list.plugins()) {
      for (const pb::Requirement& need : plugin.requirements()) {
        if (name != need.type() + "." + need.id() && name != need.service()) continue;
        out.needed_by.push_back(uri_of(plugin));
        break;
      }
    }
    for (const std::string& near : near_to(known_.list, name)) {
      out.advice.push_back("ask for " + near + ", if that was meant");
    }
    out.advice.push_back("install the package that has it; names are in `berthctl plugin graph`");
    return out;
  }

  static Explanation ambiguous(const std::string& name, const std::vector<std::string>& meant) {
    Explanation out;
    out.plugin = {
        name, {}, kAmbiguous, std::to_string(meant.size()) + " have names that end so", {}};
    for (const std::string& one : meant) out.advice.push_back("ask for " + one);
    return out;
  }

  const KnownPlugins& known_;
  std::map<std::string, const pb::Plugin*> by_uri_;
};

std::string described(const Link& link) {
  std::string text = link.uri;
  if (!link.file.empty()) text += " (" + link.file + ")";
  text += link.state == kAbsent ? " is not there" : " is " + link.state;
  if (link.state == "failed")
    text = link.uri + (link.file.empty() ? "" : " (" + link.file + ")") + " failed";
  if (link.state == "would start")
    text = link.uri + (link.file.empty() ? "" : " (" + link.file + ")") + " would start";
  if (!link.reason.empty()) text += ": " + link.reason;
  return text;
}

ordered_json json_of(const Link& link) {
  return {{"uri", link.uri},
          {"file", link.file},
          {"state", link.state},
          {"reason", link.reason},
          {"slot", link.slot}};
}

struct Options {
  PluginSource source;
  std::string name;
  bool json = false;
};

int run(const Options& options) {
  const auto known = known_plugins(options.source);
  if (!known.ok()) {
    std::fprintf(stderr, "berthctl: %s\n", known.status().message().c_str());
    return kNo;
  }
  const auto all = explain(*known, options.name);
  const std::string text =
      options.json ? explanation_json(*known, all) : explanation_text(*known, all);
  std::fputs(text.c_str(), stdout);
  const std::string& state = all.front().plugin.state;
  return state == kAbsent || state == kAmbiguous ? kNo : 0;
}

}  // namespace

std::vector<Explanation> explain(const KnownPlugins& known, const std::string& name) {
  return Explainer(known).explain(name);
}

std::string explanation_text(const KnownPlugins& known, const std::vector<Explanation>& all) {
  std::string out;
  for (const Explanation& one : all) {
    if (!out.empty()) out += "\n";
    out += described(one.plugin) + "\n";
    if (one.process) out += "  " + process_text(*one.process) + "\n";
    if (one.proxy) out += "  " + proxy_text(*one.proxy, one.plugin.reason) + "\n";
    for (const auto& chain : one.chains) {
      std::string indent = "  ";
      for (const Link& link : chain) {
        out += indent + "needs, as \"" + link.slot + "\", " + described(link) + "\n";
        indent += "  ";
      }
    }
    for (const std::string& line : one.advice) out += "  what to do: " + line + "\n";
    for (const Link& used : one.bound_to) {
      out += "  uses " + used.slot + ": " + used.uri;
      // What is out is told as what it needs, above. These are in, and do not serve now.
      if (used.state == "unresponsive" || used.state == "starting") {
        out += ", which is " + used.state;
      }
      out += "\n";
    }
    for (const std::string& uri : one.needed_by) {
      out += std::string(one.in ? "  used by " : "  wanted by ") + uri + "\n";
    }
  }
  if (all.front().plugin.state != kAbsent) return out;
  out += "  looked at: " + known.from + "\n";
  for (const std::string& problem : known.list.problems()) out += "  problem: " + problem + "\n";
  return out;
}

std::string explanation_json(const KnownPlugins& known, const std::vector<Explanation>& all) {
  ordered_json out = {
      {"from", known.from}, {"live", known.live}, {"plugins", ordered_json::array()}};
  for (const Explanation& one : all) {
    ordered_json plugin = json_of(one.plugin);
    plugin.erase("slot");
    plugin["in"] = one.in;
    if (one.process) plugin["process"] = process_json(*one.process);
    if (one.proxy) plugin["proxy"] = proxy_json(*one.proxy);
    plugin["chains"] = ordered_json::array();
    for (const auto& chain : one.chains) {
      ordered_json links = ordered_json::array();
      for (const Link& link : chain) links.push_back(json_of(link));
      plugin["chains"].push_back(std::move(links));
    }
    plugin["advice"] = one.advice;
    plugin["uses"] = ordered_json::array();
    for (const Link& used : one.bound_to) plugin["uses"].push_back(used.slot + ": " + used.uri);
    plugin["used_by"] = one.needed_by;
    out["plugins"].push_back(std::move(plugin));
  }
  out["problems"] = known.list.problems();
  return out.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

void add_why(CLI::App& plugin, Action* action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = plugin.add_subcommand(
      "why",
      "say why a plugin is in, out, blocked, waiting or unresponsive, down to the root cause");
  command
      ->add_option("uri", options->name,
                   "the plugin as TYPE.ID, its ID or another end of it, or a service")
      ->required();
  options->source.add_options(command);
  command->add_flag("--json", options->json, "print JSON");
  on_chosen(command, action, options, run);
}

}  // namespace berth::ctl
