// What all kinds of records share: the caller's namespace and lease, names and their rules.
#pragma once

#include <berth/context.h>

#include "references.h"

namespace berth::metadata {

/// INVALID_ARGUMENT unless `name` is letters and digits in groups with one of "._-" between them,
/// 76 bytes at most: safe as a path component. `object` begins the message: "container.ID".
Status validate_identifier(std::string_view name, std::string_view object = {});

/// The namespace of the caller: FAILED_PRECONDITION without one, INVALID_ARGUMENT for a bad name.
Result<std::string> caller_namespace(const Context& context);

/// The first write into a namespace makes it.
Status ensure_namespace(Connection& db, std::string_view ns);

/// Adds an object to the lease that the caller's header names, if any. NOT_FOUND when there is no
/// such lease. True when there was one.
Result<bool> add_to_lease(Connection& db, const Context& context, std::string_view ns, Kind kind,
                          std::string_view key);
/// Takes an object out of the caller's lease, if any.
Status remove_from_lease(Connection& db, const Context& context, std::string_view ns, Kind kind,
                         std::string_view key);

/// `text` as error messages show it.
inline std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

}  // namespace berth::metadata
