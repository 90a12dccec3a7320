// Protobuf's wire format for messages that are not among the API's files: bootstrap parameters of
// newer daemons and the metrics of cgroups.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace berth::shim {

void put_varint(uint64_t value, std::string* out);
/// Nothing for 0, as proto3 has it.
void put_number(uint32_t field, uint64_t value, std::string* out);
/// Nothing for an empty text.
void put_text(uint32_t field, std::string_view value, std::string* out);
/// Also when it is empty: a message that is there differs from one that is not.
void put_message(uint32_t field, std::string_view value, std::string* out);

/// The length-delimited field `field` of a message, the last one if there are more; empty when it
/// is absent or the bytes are malformed.
std::string_view find_bytes(std::string_view message, uint32_t field);

}  // namespace berth::shim
