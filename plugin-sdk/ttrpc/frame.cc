#include <berth/ttrpc/frame.h>

#include <algorithm>

namespace berth::ttrpc {
namespace {

// A header may announce 4 MiB and never send them: memory is taken as bytes arrive, beyond this
// first step.
constexpr size_t kFirstReservation = 64 << 10;

void append_u32(uint32_t value, std::string* out) {
  for (int shift = 24; shift >= 0; shift -= 8) out->push_back(static_cast<char>(value >> shift));
}

uint32_t read_u32(const unsigned char* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

}  // namespace

Status append_frame(uint32_t stream_id, uint8_t type, uint8_t flags, std::string_view payload,
                    std::string* out) {
  if (payload.size() > kMaxPayload) {
    return resource_exhausted("ttrpc: send a message of " + std::to_string(payload.size()) +
                              " bytes: the limit is " + std::to_string(kMaxPayload));
  }
  append_u32(static_cast<uint32_t>(payload.size()), out);
  append_u32(stream_id, out);
  out->push_back(static_cast<char>(type));
  out->push_back(static_cast<char>(flags));
  out->append(payload);
  return {};
}

void FrameParser::parse_header() {
  frame_ = Frame();
  missing_ = read_u32(header_.data());
  frame_.stream_id = read_u32(header_.data() + 4);
  frame_.type = header_[8];
  frame_.flags = header_[9];
  if (missing_ > kMaxPayload) {
    frame_.oversized = missing_;
  } else {
    frame_.payload.reserve(std::min<size_t>(missing_, kFirstReservation));
  }
}

void FrameParser::feed(std::string_view bytes, const std::function<void(Frame)>& sink) {
  while (!bytes.empty() || (have_ == kHeaderSize && missing_ == 0)) {
    if (have_ < kHeaderSize) {
      const size_t take = std::min(kHeaderSize - have_, bytes.size());
      std::copy_n(bytes.begin(), take, header_.begin() + static_cast<std::ptrdiff_t>(have_));
      bytes.remove_prefix(take);
      have_ += take;
      if (have_ < kHeaderSize) return;
      parse_header();
    }
    const size_t take = std::min<size_t>(missing_, bytes.size());
    if (frame_.oversized == 0) frame_.payload.append(bytes.substr(0, take));
    bytes.remove_prefix(take);
    missing_ -= static_cast<uint32_t>(take);
    if (missing_ > 0) return;
    have_ = 0;
    sink(std::move(frame_));
  }
}

}  // namespace berth::ttrpc
