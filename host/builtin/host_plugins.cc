#include "builtin/host_plugins.h"

#include <berth/context.h>

#include <memory>

#include "proxy/contact.h"

namespace berth::builtin {
namespace {

namespace pb = berth::host::v1;

/// A program that runs answers within microseconds; who asks waits no longer for one that does not.
constexpr int64_t kPatience = 1'000'000'000;

pb::State state_of(const lifecycle::PluginView& view) {
  switch (view.node.state) {
    case graph::State::kOk:
      if (view.target == nullptr) return pb::STATE_DISCOVERED;
      if (view.target->is_ready()) return pb::STATE_READY;
      return view.process && !view.process->stopping ? pb::STATE_STARTING : pb::STATE_STOPPED;
    case graph::State::kDisabled:
      return pb::STATE_DISABLED;
    case graph::State::kSkipped:
      return pb::STATE_SKIPPED;
    case graph::State::kFailed:
      return pb::STATE_FAILED;
    case graph::State::kBlocked:
      return pb::STATE_BLOCKED;
  }
  return pb::STATE_UNSPECIFIED;
}

void describe(const lifecycle::PluginView& view, const std::map<size_t, std::string>& uris,
              pb::Plugin* out) {
  out->set_type(view.node.plugin.type);
  out->set_id(view.node.plugin.id);
  out->set_state(state_of(view));
  out->set_reason(view.node.reason);
  if (view.target != nullptr && !view.target->is_ready()) {
    out->set_reason(view.target->availability().message());
  }
  out->set_code(static_cast<int32_t>(view.failure.code()));
  out->set_file(view.node.file);
  out->set_version(view.node.plugin.version.text());
  for (const std::string& service : view.node.plugin.provides) out->add_services(service);
  for (const manifest::Requirement& need : view.node.plugin.requires_) {
    auto* requirement = out->add_requirements();
    requirement->set_slot(need.name);
    requirement->set_service(need.service);
    requirement->set_optional(need.cardinality != manifest::Cardinality::kOne);
    requirement->set_type(need.type);
    requirement->set_id(need.id);
    requirement->set_version(need.version.text());
    requirement->set_all(need.cardinality == manifest::Cardinality::kAll);
    requirement->set_order_only(need.order_only);
    requirement->set_unmet(view.node.unmet.contains(need.name));
    for (const std::string& uri : view.candidate_uris.at(need.name)) {
      requirement->add_candidates(uri);
    }
    const auto bound = view.node.bindings.find(need.name);
    if (bound == view.node.bindings.end()) continue;
    for (const size_t other : bound->second) requirement->add_providers(uris.at(other));
  }
  for (const std::string& alias : view.node.plugin.aliases) out->add_aliases(alias);
  out->set_client_facing(view.node.plugin.client_facing);
  out->set_not_missed(view.node.plugin.optional);
  out->set_config_json(view.config_json);
  out->set_start_duration_ns(static_cast<uint64_t>(view.start_nanoseconds));
  if (view.process) {
    pb::Process* process = out->mutable_process();
    process->set_pid(view.process->pid);
    process->set_restarts(view.process->restarts);
    process->set_last_end(view.process->last_end);
    process->set_resident_bytes(view.process->usage.resident_bytes);
    process->set_cpu_ns(view.process->usage.cpu_nanoseconds);
    process->set_memory_max(view.process->memory_max);
    process->set_memory_held_by(view.process->memory_held_by);
    process->set_stopped(!view.process->stopped.empty());
    process->set_unanswered_ns(static_cast<uint64_t>(view.process->unanswered.count()));
    process->set_hang_timeout_ns(static_cast<uint64_t>(view.process->hang_timeout.count()));
  }
  if (view.proxy) {
    out->mutable_proxy()->set_address(view.proxy->address);
    out->mutable_proxy()->set_type(view.proxy->type);
    out->mutable_proxy()->set_configured_at(view.proxy->file + ":" +
                                            std::to_string(view.proxy->line));
  }
  if (view.process && out->state() == pb::STATE_READY) {
    if (const std::string silence = view.process->silence(); !silence.empty()) {
      out->set_state(pb::STATE_UNRESPONSIVE);
      out->set_reason(silence);
    }
  }
  if (view.target == nullptr) return;
  uint64_t calls = 0;
  uint64_t errors = 0;
  for (const auto& method : view.target->methods()) {
    const bus::MethodTotals totals = method->statistics.totals();
    calls += totals.calls;
    errors += totals.errors;
  }
  out->set_calls(calls);
  out->set_errors(errors);
  out->set_calls_in_progress(view.target->in_flight());
}

pb::Contact wire(proxy::Contact contact) {
  switch (contact) {
    case proxy::Contact::kAnswers:
      return pb::CONTACT_ANSWERS;
    case proxy::Contact::kNobody:
      return pb::CONTACT_NOBODY;
    case proxy::Contact::kSilent:
      return pb::CONTACT_SILENT;
    case proxy::Contact::kForeign:
      return pb::CONTACT_FOREIGN;
    case proxy::Contact::kForbidden:
      return pb::CONTACT_FORBIDDEN;
  }
  return pb::CONTACT_UNSPECIFIED;
}

/// Asks the programs of all proxied plugins that are wanted, at once.
void contact_proxies(pb::ListResponse* response) {
  std::vector<std::pair<pb::Plugin*, std::unique_ptr<proxy::Greeting>>> asked;
  for (pb::Plugin& plugin : *response->mutable_plugins()) {
    const bool wanted = plugin.state() == pb::STATE_READY || plugin.state() == pb::STATE_DISCOVERED;
    if (!plugin.has_proxy() || !wanted) continue;
    asked.emplace_back(&plugin, std::make_unique<proxy::Greeting>(plugin.proxy().address()));
  }
  const int64_t deadline = monotonic_now() + kPatience;
  for (const auto& [plugin, greeting] : asked) {
    const proxy::Contacted found = greeting->answer(deadline);
    pb::Proxy* out = plugin->mutable_proxy();
    out->set_contact(wire(found.contact));
    out->set_pid(found.pid);
    out->set_process_name(found.process_name);
    out->set_reason(found.reason);
    out->set_stopped(found.stopped);
    if (found.contact == proxy::Contact::kAnswers || plugin->state() != pb::STATE_READY) continue;
    plugin->set_state(pb::STATE_UNRESPONSIVE);
    plugin->set_reason(found.reason);
  }
}

}  // namespace

Status HostPluginsService::List(Context&, const pb::ListRequest& request,
                                pb::ListResponse* response) {
  const auto views = plugins_.views();
  std::map<size_t, std::string> uris;
  for (size_t i = 0; i < views.size(); ++i) uris[i] = views[i].node.uri();
  for (std::string& problem : plugins_.problems()) response->add_problems(std::move(problem));
  for (const bool running : {true, false}) {
    for (const lifecycle::PluginView& view : views) {
      if ((view.target != nullptr) != running) continue;
      if (!request.type().empty() && request.type() != view.node.plugin.type) continue;
      if (!request.id().empty() && request.id() != view.node.plugin.id) continue;
      describe(view, uris, response->add_plugins());
    }
  }
  contact_proxies(response);
  return {};
}

}  // namespace berth::builtin
