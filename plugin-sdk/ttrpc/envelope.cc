#include <berth/ttrpc/envelope.h>

#include <optional>

namespace berth::ttrpc {
namespace {

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void put_varint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

void put_int(uint32_t field, int64_t value, std::string* out) {
  if (value == 0) return;  // proto3: defaults are not sent
  put_varint(field << 3 | kVarint, out);
  put_varint(static_cast<uint64_t>(value), out);
}

void put_message(uint32_t field, std::string_view value, std::string* out) {
  put_varint(field << 3 | kBytes, out);
  put_varint(value.size(), out);
  out->append(value);
}

void put_bytes(uint32_t field, std::string_view value, std::string* out) {
  if (!value.empty()) put_message(field, value, out);
}

struct Field {
  uint32_t number = 0;
  uint32_t wire = 0;
  uint64_t varint = 0;
  std::string_view bytes;
};

// Walks the fields of one message.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  /// The next field; nothing at the end and on malformed input, told apart by ok().
  std::optional<Field> next() {
    if (bytes_.empty() || !ok_) return std::nullopt;
    Field field;
    const uint64_t tag = varint();
    field.number = static_cast<uint32_t>(tag >> 3);
    field.wire = static_cast<uint32_t>(tag & 7);
    if (tag > UINT32_MAX || field.number == 0) ok_ = false;
    switch (field.wire) {
      case kVarint:
        field.varint = varint();
        break;
      case kFixed64:
        field.bytes = take(8);
        break;
      case kBytes:
        field.bytes = take(varint());
        break;
      case kFixed32:
        field.bytes = take(4);
        break;
      default:
        ok_ = false;  // groups do not occur in proto3
    }
    if (!ok_) return std::nullopt;
    return field;
  }
  bool ok() const { return ok_; }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (uint32_t shift = 0; shift < 70; shift += 7) {
      if (bytes_.empty()) break;
      const auto byte = static_cast<unsigned char>(bytes_.front());
      bytes_.remove_prefix(1);
      value |= uint64_t{byte & 0x7fu} << (shift < 64 ? shift : 63);
      if ((byte & 0x80) == 0) return value;
    }
    ok_ = false;
    return 0;
  }
  std::string_view take(uint64_t size) {
    if (size > bytes_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view part = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return part;
  }

  std::string_view bytes_;
  bool ok_ = true;
};

Status malformed(std::string_view what, size_t size) {
  return invalid_argument("ttrpc: decode " + std::string(what) + " of " + std::to_string(size) +
                          " bytes: it is not a well-formed protobuf message");
}

bool is_bytes(const Field& field, uint32_t number) {
  return field.number == number && field.wire == kBytes;
}

bool decode_pair(std::string_view bytes, Metadata* out) {
  Reader reader(bytes);
  std::pair<std::string, std::string> pair;
  while (const auto field = reader.next()) {
    if (is_bytes(*field, 1)) pair.first = field->bytes;
    if (is_bytes(*field, 2)) pair.second = field->bytes;
  }
  out->push_back(std::move(pair));
  return reader.ok();
}

bool decode_status(std::string_view bytes, Status* out) {
  Reader reader(bytes);
  int32_t code = 0;
  std::string message;
  bool detailed = false;
  while (const auto field = reader.next()) {
    if (field->number == 1 && field->wire == kVarint) code = static_cast<int32_t>(field->varint);
    if (is_bytes(*field, 2)) message = field->bytes;
    if (is_bytes(*field, 3)) detailed = true;
  }
  *out = Status(static_cast<Code>(code), std::move(message),
                detailed ? std::string(bytes) : std::string());
  return reader.ok();
}

}  // namespace

std::string encode(const RequestEnvelope& request) {
  std::string out;
  out.reserve(request.service.size() + request.method.size() + request.payload.size() + 64);
  put_bytes(1, request.service, &out);
  put_bytes(2, request.method, &out);
  put_bytes(3, request.payload, &out);
  put_int(4, request.timeout_ns, &out);
  for (const auto& [key, value] : request.metadata) {
    std::string pair;
    put_bytes(1, key, &pair);
    put_bytes(2, value, &pair);
    put_message(5, pair, &out);
  }
  return out;
}

std::string encode(const ResponseEnvelope& response) {
  std::string out;
  if (!response.status.ok()) {
    if (!response.status.details().empty()) {
      put_message(1, response.status.details(), &out);
    } else {
      std::string status;
      put_int(1, static_cast<int32_t>(response.status.code()), &status);
      put_bytes(2, response.status.message(), &status);
      put_message(1, status, &out);
    }
  }
  put_bytes(2, response.payload, &out);
  return out;
}

Status decode(std::string_view bytes, RequestEnvelope* out) {
  *out = {};
  Reader reader(bytes);
  while (const auto field = reader.next()) {
    if (is_bytes(*field, 1)) out->service = field->bytes;
    if (is_bytes(*field, 2)) out->method = field->bytes;
    if (is_bytes(*field, 3)) out->payload = field->bytes;
    if (field->number == 4 && field->wire == kVarint) {
      out->timeout_ns = static_cast<int64_t>(field->varint);
    }
    if (is_bytes(*field, 5) && !decode_pair(field->bytes, &out->metadata)) {
      return malformed("a request", bytes.size());
    }
  }
  return reader.ok() ? Status() : malformed("a request", bytes.size());
}

Status decode(std::string_view bytes, ResponseEnvelope* out) {
  *out = {};
  Reader reader(bytes);
  while (const auto field = reader.next()) {
    if (is_bytes(*field, 1) && !decode_status(field->bytes, &out->status)) {
      return malformed("a response", bytes.size());
    }
    if (is_bytes(*field, 2)) out->payload = field->bytes;
  }
  return reader.ok() ? Status() : malformed("a response", bytes.size());
}

}  // namespace berth::ttrpc
