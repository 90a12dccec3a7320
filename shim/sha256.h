// SHA-256 for the one name that needs it, without a cryptographic library in every shim.
#pragma once

#include <string>
#include <string_view>

namespace berth::shim {

/// 64 hexadecimal digits.
std::string sha256_hex(std::string_view data);

}  // namespace berth::shim
