// Extended attributes of exactly what a descriptor refers to, O_PATH ones included. Links are not
// followed.
#pragma once

#include <berth/status.h>

#include <optional>
#include <string>
#include <vector>

namespace berth::diff_walking {

/// All names, none where the file system has no attributes. `name` is for messages.
Result<std::vector<std::string>> list_xattrs(int fd, const std::string& name);

/// The value; nothing when there is no such attribute.
Result<std::optional<std::string>> get_xattr(int fd, const std::string& key,
                                             const std::string& name);

}  // namespace berth::diff_walking
