// Frames: what travels on the socket between the host and a plugin's process, and how bytes become
// frames again. Both sides run on one machine, so numbers are as that machine has them.
#pragma once

#include <berth/fd.h>
#include <berth/message.h>
#include <berth/status.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace berth::link {

enum class FrameType : uint8_t {
  // -- calls; `stream` names the call --
  kOpen = 1,   // OpenFields, then the request when kHasBody
  kMessage,    // one message of a stream
  kHalfClose,  // the opener sends no more
  kCancel,     // by the opener
  kFinish,     // by the server: the response, or a status when kFailed
  kCredit,     // uint64: bytes and charges that the receiver has passed on
  // -- the link itself --
  kPing,  // uint64, which comes back in a kPong
  kPong,
  // -- a plugin's life (control.h) --
  kLoaded,     // process to host: what the shared object serves
  kSettings,   // host to process
  kStep,       // host to process: probe, init, start or stop
  kOutcome,    // process to host, of load or a step
  kLog,        // process to host
  kUnhealthy,  // process to host
  kLogLevel,   // host to process: the log's settings have changed
  kLast = kLogLevel,
};

enum FrameFlags : uint8_t {
  kFromOpener = 1,  // the sender has opened the call that `stream` names
  kHasBody = 2,     // kOpen: a request follows; kFinish: a response
  kFailed = 4,      // kFinish: the payload is a status
};

struct FrameHeader {
  uint16_t magic = kMagic;
  FrameType type{};
  uint8_t flags = 0;
  uint32_t stream = 0;
  uint32_t size = 0;  // of the payload, in bytes
  uint16_t fd_count = 0;
  uint16_t zero = 0;

  static constexpr uint16_t kMagic = 0xbe47;
};
static_assert(sizeof(FrameHeader) == 16);

/// More than the largest message that a door may take (1 GiB), with headers.
inline constexpr uint32_t kMaxPayload = (1U << 30) + (64U << 20);
/// What the kernel passes with one message (SCM_MAX_FD).
inline constexpr uint32_t kMaxFds = 253;

/// A received frame. The payload is 64-byte aligned.
struct Frame {
  FrameHeader header;
  Message payload;
  std::vector<UniqueFd> fds;

  std::string_view bytes() const { return payload.bytes(); }
  /// The payload from `offset` on and the descriptors as one message of the bus, which owns them.
  /// An offset past the end is an empty body.
  Message take_message(size_t offset = 0);
};

/// Bytes, in pieces of any size, into frames. Payloads that are large are received where they will
/// stay. One thread.
class FrameReader {
 public:
  FrameReader();
  FrameReader(const FrameReader&) = delete;
  FrameReader& operator=(const FrameReader&) = delete;

  /// Where the next bytes go; never empty.
  std::span<char> space();
  /// So many bytes were put there, and these descriptors came with them. An error when they are no
  /// frames: nothing more can be read then.
  Status received(size_t count, std::vector<UniqueFd> fds);
  /// The next whole frame.
  std::optional<Frame> next();
  /// Whether a frame has begun and is not whole.
  bool in_frame() const { return large_ || begin_ != end_; }

 private:
  Status parse();
  Status complete(const FrameHeader& header, Message payload);

  std::vector<char> buffer_;
  size_t begin_ = 0;  // of what is not parsed yet
  size_t end_ = 0;
  bool large_ = false;  // a payload is on its way into large_payload_
  FrameHeader large_header_;
  Message large_payload_;
  size_t large_filled_ = 0;
  std::vector<UniqueFd> fds_;  // not yet claimed by a frame
  std::vector<Frame> frames_;
  size_t next_frame_ = 0;
};

/// Numbers and texts one after another.
class Encoder {
 public:
  template <typename T>
  Encoder& number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Encoder& text(std::string_view value) {
    number(static_cast<uint32_t>(value.size()));
    bytes_.append(value);
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

/// The same, read. What is missing reads as zero or empty and makes ok() false. Texts borrow.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : bytes_(bytes) {}
  template <typename T>
  T number() {
    T value{};
    if (bytes_.size() - at_ < sizeof value) {
      ok_ = false;
      return value;
    }
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  std::string_view text() {
    const auto size = number<uint32_t>();
    if (!ok_ || bytes_.size() - at_ < size) {
      ok_ = false;
      return {};
    }
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }
  /// The number of things that follow, of at least `least` bytes each: more than there is room for
  /// is an error, and 0.
  uint32_t count(size_t least) {
    const auto number_of = number<uint32_t>();
    if (!ok_ || number_of > (bytes_.size() - at_) / least) ok_ = false;
    return ok_ ? number_of : 0;
  }
  size_t at() const { return at_; }
  bool ok() const { return ok_; }

 private:
  std::string_view bytes_;
  size_t at_ = 0;
  bool ok_ = true;
};

/// How a call begins.
struct OpenFields {
  uint32_t target = 0;
  uint32_t method = 0;
  int64_t deadline = BERTH_FOREVER;  // CLOCK_MONOTONIC is one clock for both sides
  berth_peer peer{sizeof(berth_peer), 0, 0, 0, 0};
  std::vector<std::pair<std::string, std::string>> headers;
};
std::string encode(const OpenFields& fields, const berth_header* headers, uint32_t count);
/// INVALID_ARGUMENT when it is none. `end`: where the request begins.
Result<OpenFields> decode_open(std::string_view payload, size_t* end);

std::string encode(const Status& status);
/// Nothing when it is cut.
std::optional<Status> decode_status(std::string_view payload);

}  // namespace berth::link
