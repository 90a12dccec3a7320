// Of plugins that run elsewhere than in the daemon: where, whether they answer, and what to do
// where they do not. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "plugin_source.h"

namespace berth::ctl {

std::string process_text(const berth::host::v1::Process& process);
nlohmann::ordered_json process_json(const berth::host::v1::Process& process);

/// `told`: what has been said of it already, and is not said again.
std::string proxy_text(const berth::host::v1::Proxy& proxy, const std::string& told);
nlohmann::ordered_json proxy_json(const berth::host::v1::Proxy& proxy);

/// What to do, one line each; none where there is nothing. `live`: as in KnownPlugins.
std::vector<std::string> advice_on_answering(const berth::host::v1::Plugin& plugin, bool live);

}  // namespace berth::ctl
