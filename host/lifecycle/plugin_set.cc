#include "lifecycle/plugin_set.h"

#include <berth/context.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "bus/current_plugin.h"

namespace berth::lifecycle {
namespace {

std::string joined(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& one : list) text += (text.empty() ? "" : ",") + one;
  return text;
}

}  // namespace

PluginSet::PluginSet(const config::Config& config, const abi::HostFacts& host)
    : config_(config), host_(host) {}

void PluginSet::resolve(std::vector<Builtin> builtins,
                        std::vector<config::Diagnostic>* diagnostics) {
  builtins_ = std::move(builtins);
  // Nobody has asked for the default one, and a host alone has none.
  discovery_ = discover(config_.values().plugin_dirs, !config_.plugin_dir_is_default());
  std::vector<graph::Candidate> candidates = discovery_.candidates;
  for (const Builtin& builtin : builtins_) {
    if (builtin.replaces) {
      std::erase_if(candidates, [&](const graph::Candidate& other) {
        const bool same = other.plugin.uri() == builtin.plugin.uri();
        if (same) {
          spdlog::info("{} of {} is left out: the configuration puts another one in its place",
                       other.plugin.uri(), other.file);
        }
        return same;
      });
    }
    candidates.push_back({"", builtin.plugin, ""});
  }

  graph::Decisions decisions;
  const auto& values = config_.values();
  decisions.disabled.insert(values.disabled_plugins.begin(), values.disabled_plugins.end());
  decisions.required.insert(values.required_plugins.begin(), values.required_plugins.end());
  std::vector<manifest::Plugin> all;
  for (const graph::Candidate& candidate : candidates) {
    all.push_back(candidate.plugin);
    for (const manifest::Requirement& need : candidate.plugin.requires_) {
      const std::string choice = config_.choice(candidate.plugin, need.name);
      if (!choice.empty()) decisions.choices[candidate.plugin.uri()][need.name] = choice;
    }
  }
  for (config::Diagnostic& unknown : config_.unknown_sections(all))
    diagnostics->push_back(std::move(unknown));

  const std::lock_guard lock(mutex_);
  graph_ = graph::resolve(std::move(candidates), decisions);
  running_.resize(graph_.nodes.size());
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    running_[i].config_json = config_.plugin_json(graph_.nodes[i].plugin, diagnostics);
  }
}

std::vector<std::string> PluginSet::problems() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> all = discovery_.problems;
  all.insert(all.end(), graph_.problems.begin(), graph_.problems.end());
  return all;
}

std::vector<std::string> PluginSet::fatal() const {
  const std::lock_guard lock(mutex_);
  return graph_.fatal;
}

Result<const berth_plugin*> PluginSet::load(const graph::Node& node) {
  auto loaded = libraries_.find(node.file);
  if (loaded == libraries_.end()) {
    std::vector<abi::DeclaredPlugin> declared;
    for (const manifest::Plugin& plugin : discovery_.manifests.at(node.file).plugins) {
      declared.push_back({plugin.type, plugin.id, plugin.provides});
    }
    const bus::CurrentPlugin current(node.file, "load");
    BERTH_ASSIGN_OR_RETURN(abi::Library library, abi::Library::load(node.file, declared));
    loaded = libraries_.emplace(node.file, std::move(library)).first;
  }
  return loaded->second.find(node.plugin.type, node.plugin.id);
}

void PluginSet::failed(size_t index, std::string_view where, const abi::Placed::Step& step) {
  const bool skip = step.outcome == abi::Placed::Outcome::kSkip;
  const std::lock_guard lock(mutex_);
  const std::string uri = graph_.nodes[index].uri();
  if (skip) {
    spdlog::info("{} is skipped: {}", uri, step.status.message());
  } else {
    spdlog::error("{} failed{}{}: {}", uri, where.empty() ? "" : " in ", where,
                  step.status.message());
  }
  running_[index].failure = step.status;
  for (const size_t dependant :
       graph::fail(graph_, index, skip ? graph::State::kSkipped : graph::State::kFailed,
                   step.status.message())) {
    spdlog::error("{} is blocked: {}", graph_.nodes[dependant].uri(),
                  graph_.nodes[dependant].reason);
  }
}

void PluginSet::late(size_t index, std::string_view where, const Status& why,
                     abi::Placed* instance) {
  const std::lock_guard lock(mutex_);
  spdlog::error("{} failed in {}: {}; what needs it starts without it, and berthd tries again",
                graph_.nodes[index].uri(), where, why.message());
  running_[index].instance = instance;
  running_[index].target = &instance->target();
  running_[index].first_failure = why;
}

abi::InstanceSettings PluginSet::settings_for(size_t index) const {
  const graph::Node& node = graph_.nodes[index];
  abi::InstanceSettings settings;
  settings.type = node.plugin.type;
  settings.id = node.plugin.id;
  settings.capabilities = joined(node.plugin.capabilities);
  settings.config_json = running_[index].config_json;
  for (const auto& [name, bound] : node.bindings) {
    auto& targets = settings.bindings[name];
    for (const size_t other : bound) {
      if (running_[other].target != nullptr) targets.push_back(running_[other].target);
    }
  }
  return settings;
}

Result<abi::Placed*> PluginSet::place(size_t index) {
  const graph::Node& node = graph_.nodes[index];
  const config::Placement placement = config_.placement(node.plugin);
  if (!placement.process) {
    BERTH_ASSIGN_OR_RETURN(const berth_plugin* const plugin, load(node));
    return new abi::Instance(*plugin, settings_for(index), host_);  // lives for ever
  }
  BERTH_ASSIGN_OR_RETURN(std::string program, process::program_beside_this());
  process::ProcessOptions options;
  options.program = std::move(program);
  options.file = node.file;
  options.log = {config_.values().log_level, config_.values().log_format};
  options.memory_max = placement.memory_max;
  if (!node.plugin.needs_binaries.empty()) {
    options.only_measured = "a cgroup would also hold the programs that it starts (" +
                            joined(node.plugin.needs_binaries) + ")";
  }
  options.hang_timeout = placement.hang_timeout;
  options.start_timeout = placement.start_timeout;
  auto* plugin = new process::ProcessPlugin(std::move(options), settings_for(index), host_);
  const std::lock_guard lock(mutex_);
  running_[index].process = plugin;
  return plugin;
}

const Builtin* PluginSet::builtin_of(const graph::Node& node) const {
  const auto found = std::find_if(builtins_.begin(), builtins_.end(), [&](const Builtin& one) {
    return node.file.empty() && one.plugin.uri() == node.uri();
  });
  return found == builtins_.end() ? nullptr : &*found;
}

Status PluginSet::start_node(size_t index) {
  const graph::Node node = graph_.nodes[index];
  const std::string uri = node.uri();
  if (const Builtin* const builtin = builtin_of(node); builtin != nullptr) {
    const std::lock_guard lock(mutex_);
    running_[index].target = builtin->target;
    return {};
  }

  using Outcome = abi::Placed::Outcome;
  const int64_t began = monotonic_now();
  const auto placed = place(index);
  if (!placed.ok()) {
    failed(index, "", {Outcome::kFailed, placed.status()});
    return placed.status();
  }
  abi::Placed* const instance = *placed;
  using Step = abi::Placed::Step (abi::Placed::*)();
  const std::pair<std::string_view, Step> steps[] = {
      {"probe", &abi::Placed::probe}, {"init", &abi::Placed::init}, {"start", &abi::Placed::start}};
  for (const auto& [name, step] : steps) {
    const bus::CurrentPlugin current(uri, name);
    const abi::Placed::Step result = (instance->*step)();
    if (result.outcome != Outcome::kOk) {
      if (running_[index].process != nullptr && running_[index].process->goes_on()) {
        late(index, name, result.status, instance);
      } else {
        failed(index, name, result);
      }
      return result.status;
    }
    // Calls can reach a plugin once it has an instance: its own start may already make others call
    // it.
    if (step == &abi::Placed::init) instance->ready();
  }
  const std::lock_guard lock(mutex_);
  running_[index].instance = instance;
  running_[index].target = &instance->target();
  running_[index].start_nanoseconds = monotonic_now() - began;
  spdlog::debug("{} is ready after {} ms", node.uri(),
                running_[index].start_nanoseconds / 1'000'000);
  return {};
}

namespace {

/// Whether `uris` name the plugin, by its own id or by one of its other ids.
bool named_in(const std::vector<std::string>& uris, const manifest::Plugin& plugin) {
  const auto named = [&](const std::string& id) {
    return std::find(uris.begin(), uris.end(), plugin.type + "." + id) != uris.end();
  };
  return named(plugin.id) || std::any_of(plugin.aliases.begin(), plugin.aliases.end(), named);
}

}  // namespace

Status PluginSet::start() {
  for (const graph::Node& node : graph_.nodes) {
    if (node.state == graph::State::kBlocked) {
      spdlog::error("{} is blocked: {}", node.uri(), node.reason);
    }
  }
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    const graph::Node& node = graph_.nodes[i];
    Status started;
    if (node.state == graph::State::kOk) started = start_node(i);  // reported by failed(), late()
    if (!named_in(config_.values().required_plugins, node.plugin)) continue;
    const std::string refused = "required plugin " + node.uri() + " does not run: ";
    if (node.state != graph::State::kOk) return failed_precondition(refused + node.reason);
    if (!started.ok()) return failed_precondition(refused + started.message());
  }
  return {};
}

void PluginSet::set_log(const link::LogSettings& log) {
  const std::lock_guard lock(mutex_);
  for (const Running& running : running_) {
    if (running.process != nullptr) running.process->set_log(log);
  }
}

void PluginSet::stop(int64_t deadline) {
  std::vector<abi::Placed*> instances;
  {
    const std::lock_guard lock(mutex_);
    for (const Running& running : running_) {
      if (running.instance != nullptr) instances.push_back(running.instance);
    }
  }
  for (auto instance = instances.rbegin(); instance != instances.rend(); ++instance)
    (*instance)->stop(deadline);
}

std::vector<PluginView> PluginSet::views() const {
  const std::lock_guard lock(mutex_);
  std::vector<PluginView> views;
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    PluginView view;
    view.node = graph_.nodes[i];
    for (const auto& [name, bound] : view.node.bindings) {
      for (const size_t other : bound) view.requires_uris.push_back(graph_.nodes[other].uri());
    }
    for (const manifest::Requirement& need : view.node.plugin.requires_) {
      auto& uris = view.candidate_uris[need.name];
      for (const size_t other : graph::candidates(graph_.nodes, i, need)) {
        uris.push_back(graph_.nodes[other].uri());
      }
    }
    view.target = running_[i].target;
    view.failure = running_[i].failure;
    view.first_failure = running_[i].first_failure;
    view.config_json = running_[i].config_json;
    view.start_nanoseconds = running_[i].start_nanoseconds;
    if (running_[i].process != nullptr) view.process = running_[i].process->facts();
    if (const Builtin* builtin = builtin_of(view.node)) view.proxy = builtin->proxy;
    views.push_back(std::move(view));
  }
  return views;
}

std::map<std::string, std::string> PluginSet::missing_services() const {
  const std::lock_guard lock(mutex_);
  return graph::missing_services(graph_);
}

std::vector<bus::Target*> PluginSet::client_facing() const {
  const std::lock_guard lock(mutex_);
  std::vector<bus::Target*> targets;
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    const graph::Node& node = graph_.nodes[i];
    if (node.plugin.client_facing && node.state == graph::State::kOk &&
        running_[i].target != nullptr) {
      targets.push_back(running_[i].target);
    }
  }
  return targets;
}

std::vector<const bus::Target*> PluginSet::targets() const {
  const std::lock_guard lock(mutex_);
  std::vector<const bus::Target*> targets;
  for (const Running& running : running_) {
    if (running.target != nullptr) targets.push_back(running.target);
  }
  return targets;
}

std::vector<std::pair<std::string, process::ProcessFacts>> PluginSet::processes() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<std::string, process::ProcessFacts>> all;
  for (size_t i = 0; i < running_.size(); ++i) {
    if (running_[i].process == nullptr) continue;
    all.emplace_back(graph_.nodes[i].uri(), running_[i].process->facts());
  }
  return all;
}

std::vector<manifest::Plugin> PluginSet::plugins() const {
  const std::lock_guard lock(mutex_);
  std::vector<manifest::Plugin> plugins;
  for (const graph::Node& node : graph_.nodes) plugins.push_back(node.plugin);
  return plugins;
}

}  // namespace berth::lifecycle
