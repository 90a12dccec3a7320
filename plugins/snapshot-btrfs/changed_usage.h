// What a snapshot takes beyond its parent.
#pragma once

#include <berth/file_tree.h>

namespace berth::btrfs {

/// The space and the inodes of what is in `tree` and either not in `parent` or changed since `tree`
/// was made as a snapshot of it. `parent` must not change meanwhile. A changed file counts in full,
/// as containerd counts it, also where it still shares extents with the parent's. CANCELLED as with
/// tree_usage().
Result<TreeUsage> changed_usage(const std::string& parent, const std::string& tree,
                                const std::function<bool()>& cancelled);

}  // namespace berth::btrfs
