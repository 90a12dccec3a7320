// What the SDK has for those who run shims, by the names that this plugin knows it by.
#pragma once

#include <berth/shim_client.h>

namespace berth::runtime {

using shim_client::Bootstrap;
using shim_client::Bundle;
using shim_client::BundleRoots;
using shim_client::ExitStatus;
using shim_client::LauncherSettings;
using shim_client::Shim;
using shim_client::ShimLauncher;
using shim_client::ShimLog;
using shim_client::ShimTimeouts;
using shim_client::TaskKey;

namespace shim_api = shim_client::shim_api;

using shim_client::is_closed;
using shim_client::kill_processes_in;
using shim_client::killed_now;
using shim_client::read_bootstrap;
using shim_client::remove_tree;
using shim_client::validate_identifier;
using shim_client::with_state_code;
using shim_client::write_bootstrap;

}  // namespace berth::runtime
