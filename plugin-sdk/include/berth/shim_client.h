// A daemon's side of shims, the programs that run containers: for plugins that are a runtime.
//
// A task has a bundle (shim_client/bundle.h). The launcher finds the shim's program, runs its
// "start" there, and its "delete" when the shim is dead (shim_client/launcher.h); what the shim
// answers to "start" tells where it serves (shim_client/bootstrap.h). From then on it is called by
// ttrpc (shim_client/shim.h) and says in a fifo what is to be logged (shim_client/shim_log.h). A
// shim outlives the daemon: after a restart its bundle leads to it.
//
//   BERTH_ASSIGN_OR_RETURN(auto bundle, Bundle::create(roots, key, spec));
//   BERTH_ASSIGN_OR_RETURN(auto log, ShimLog::open(loop, bundle, write_line));
//   BERTH_ASSIGN_OR_RETURN(auto bootstrap, launcher.start(bundle, program, options, deadline));
//   BERTH_ASSIGN_OR_RETURN(auto shim, Shim::connect(loop, key, bootstrap, {}));
//   BERTH_RETURN_IF_ERROR(shim->call(context, "Create", request, &response));
//
// Library: Berth::shim_client.
#pragma once

#include <berth/shim_client/bootstrap.h>  // IWYU pragma: export
#include <berth/shim_client/bundle.h>     // IWYU pragma: export
#include <berth/shim_client/launcher.h>   // IWYU pragma: export
#include <berth/shim_client/mounts.h>     // IWYU pragma: export
#include <berth/shim_client/program.h>    // IWYU pragma: export
#include <berth/shim_client/shim.h>       // IWYU pragma: export
#include <berth/shim_client/shim_log.h>   // IWYU pragma: export
#include <berth/shim_client/stray.h>      // IWYU pragma: export
