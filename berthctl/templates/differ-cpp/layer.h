// Layers and trees; all of it in the root of the calling thread (mounted.h).
#pragma once

#include <berth/status.h>

#include <map>
#include <string>

namespace @ident@_plugin {

/// Unpacks a tar archive: what it brings replaces what is there, ".wh.NAME" removes NAME, ".wh..wh..opq" all that the lower layers
/// have in its directory. INVALID_ARGUMENT for what is no sound archive.
berth::Status unpack_here(const std::string& archive);

/// What is to be known of a file to see whether it has changed, by path without the first slash.
using Tree = std::map<std::string, std::string>;
berth::Status look_at_tree(Tree* out);

/// Writes what this root has other than `lower` as a layer.
berth::Status pack_changes(const Tree& lower, std::string* archive);

}  // namespace @ident@_plugin
