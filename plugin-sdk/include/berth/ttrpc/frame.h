// The frames of ttrpc: a header of ten bytes and a payload.
//
//   uint32 length of the payload, big endian    uint32 stream id, big endian    uint8 type    uint8
//   flags
#pragma once

#include <berth/status.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace berth::ttrpc {

inline constexpr size_t kHeaderSize = 10;
/// No payload is longer; peers refuse longer ones.
inline constexpr size_t kMaxPayload = 4u << 20;

enum FrameType : uint8_t { kRequest = 1, kResponse = 2, kData = 3 };

/// The sender will send no more data on this stream.
inline constexpr uint8_t kRemoteClosed = 0x1;
/// On a request: data frames of the sender follow.
inline constexpr uint8_t kRemoteOpen = 0x2;
/// On a data frame: it carries no message, only its flags.
inline constexpr uint8_t kNoData = 0x4;

struct Frame {
  uint32_t stream_id = 0;
  uint8_t type = 0;  // FrameType, or what a newer peer sends
  uint8_t flags = 0;
  std::string payload;
  /// The peer announced this many bytes, more than kMaxPayload; they were skipped and `payload` is
  /// empty.
  uint32_t oversized = 0;
};

/// Appends one frame to `out`. RESOURCE_EXHAUSTED, and `out` untouched, when `payload` exceeds
/// kMaxPayload.
Status append_frame(uint32_t stream_id, uint8_t type, uint8_t flags, std::string_view payload,
                    std::string* out);

/// Cuts a byte stream into frames. Holds at most one incomplete frame, and of its payload only
/// bytes that have arrived. One thread at a time.
class FrameParser {
 public:
  /// Calls `sink` for each frame that `bytes` completes, in order.
  void feed(std::string_view bytes, const std::function<void(Frame)>& sink);
  /// Whether the stream may end here: no frame is incomplete.
  bool at_boundary() const { return have_ == 0; }

 private:
  void parse_header();

  std::array<unsigned char, kHeaderSize> header_{};
  size_t have_ = 0;       // bytes of the header
  uint32_t missing_ = 0;  // bytes of the payload, once the header is complete
  Frame frame_;
};

}  // namespace berth::ttrpc
