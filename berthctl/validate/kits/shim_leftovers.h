// What containers of the shim kit leave on the machine, and its end.
#pragma once

#include <berth/shim_client.h>

#include <string>
#include <vector>

namespace berth::ctl::validate {

/// Of the containers of the kit.
constexpr const char* kShimNamespace = "berth-kit";

/// What a specification of the kit has as its cgroupsPath.
std::string cgroup_of(const std::string& id);
/// The folders of that cgroup that are there, in whichever hierarchy.
std::vector<std::string> cgroups_of(const std::string& id);
/// Thaws it and ends what is in it; then its folders go, as far as they are empty.
void remove_cgroups_of(const std::string& id);

/// In a folder of a case: where its bundles are, and how its shims are started.
shim_client::BundleRoots roots_in(const std::string& directory);
shim_client::LauncherSettings launcher_settings_in(const std::string& directory);

/// After a case that was killed, and its processes with it, as far as they could be: for each
/// bundle below the temporary directory that it had, the shim's program gets to clean up, and what
/// it leaves is removed.
void clean_up_after_shims(const std::string& temporary, const std::string& program);

}  // namespace berth::ctl::validate
