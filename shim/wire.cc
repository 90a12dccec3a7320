#include "wire.h"

namespace berth::shim {
namespace {

bool take_varint(std::string_view* bytes, uint64_t* value) {
  *value = 0;
  for (unsigned shift = 0; shift < 64 && !bytes->empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes->front());
    bytes->remove_prefix(1);
    *value |= uint64_t{byte & 0x7fu} << shift;
    if ((byte & 0x80) == 0) return true;
  }
  return false;
}

}  // namespace

void put_varint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

void put_number(uint32_t field, uint64_t value, std::string* out) {
  if (value == 0) return;
  put_varint(field << 3, out);
  put_varint(value, out);
}

void put_message(uint32_t field, std::string_view value, std::string* out) {
  put_varint(field << 3 | 2, out);
  put_varint(value.size(), out);
  out->append(value);
}

void put_text(uint32_t field, std::string_view value, std::string* out) {
  if (!value.empty()) put_message(field, value, out);
}

std::string_view find_bytes(std::string_view message, uint32_t field) {
  std::string_view found;
  while (!message.empty()) {
    uint64_t tag = 0;
    uint64_t number = 0;
    if (!take_varint(&message, &tag)) return {};
    uint64_t skip = 0;
    switch (tag & 7) {
      case 0:
        if (!take_varint(&message, &number)) return {};
        break;
      case 1:
        skip = 8;
        break;
      case 2:
        if (!take_varint(&message, &skip)) return {};
        break;
      case 5:
        skip = 4;
        break;
      default:
        return {};
    }
    if (skip > message.size()) return {};
    if ((tag & 7) == 2 && tag >> 3 == field) found = message.substr(0, skip);
    message.remove_prefix(skip);
  }
  return found;
}

}  // namespace berth::shim
