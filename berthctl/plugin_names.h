// What somebody meant who did not write a whole plugin URI or service name. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "berth/host/v1/host.pb.h"

namespace berth::ctl {

/// The plugins (or, when none, the services) whose full name ends with `name` after a dot: an id,
/// or any longer end, of an id or an alias. Sorted, each once, as full names.
std::vector<std::string> ending_with(const host::v1::ListResponse& list, const std::string& name);

/// Plugins and services that a misspelt or half-remembered `name` may have meant, the nearest
/// first, at most five: those that contain it, and those whose last part differs in few letters.
std::vector<std::string> near_to(const host::v1::ListResponse& list, const std::string& name);

}  // namespace berth::ctl
