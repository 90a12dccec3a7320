// berthctl plugin why: the chain from a plugin to what decides whether it runs. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plugin_source.h"

namespace berth::ctl {

/// One link: a plugin (or something wanted that is not there) and how the one before it needs it.
struct Link {
  std::string uri;     // or what is wanted, where nothing answers to it
  std::string file;    // empty for the host's own and for what is not there
  std::string state;   // as state_name(), "absent" or "ambiguous"
  std::string reason;  // the plugin's own, one line; empty when it is merely blocked
  std::string slot;    // name of the requirement that leads here; empty for the first
};

struct Explanation {
  Link plugin;
  bool in = false;
  std::optional<berth::host::v1::Process> process;  // of one that has a process of its own
  std::optional<berth::host::v1::Proxy> proxy;      // of one of another program
  /// Each a way from the plugin to a root cause, the plugin itself left out. Empty when it is in,
  /// or is its own root cause.
  std::vector<std::vector<Link>> chains;
  std::vector<std::string> advice;     // what to do, one line each
  std::vector<Link> bound_to;          // whom it uses, without files and reasons
  std::vector<std::string> needed_by;  // those that run, or are blocked, because of it
};

/// `name`: TYPE.ID with an id or alias, or a service; then there is one explanation per plugin that
/// provides it. Else the one plugin or service whose name ends with it; several: one explanation
/// with state "ambiguous" and their names as advice. None: one with state "absent", which offers
/// names that are near.
std::vector<Explanation> explain(const KnownPlugins& known, const std::string& name);

std::string explanation_text(const KnownPlugins& known, const std::vector<Explanation>& all);
std::string explanation_json(const KnownPlugins& known, const std::vector<Explanation>& all);

}  // namespace berth::ctl
