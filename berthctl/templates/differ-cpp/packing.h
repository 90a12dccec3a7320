// How layers are compressed.
#pragma once

#include <berth/status.h>

#include <string>

namespace @ident@_plugin {

enum class Packing { kPlain, kGzip, kZstd };

/// INVALID_ARGUMENT for what is damaged or cut.
berth::Result<std::string> unpacked(const std::string& blob, Packing packing);
berth::Result<std::string> packed(const std::string& layer, Packing packing);

}  // namespace @ident@_plugin
