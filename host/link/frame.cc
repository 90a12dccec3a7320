#include "link/frame.h"

#include <algorithm>

namespace berth::link {
namespace {

constexpr size_t kBuffer = 64 << 10;

Status no_frame(const std::string& why) {
  return data_loss("the other side sent what is no frame: " + why);
}

Status check(const FrameHeader& header) {
  const auto type = static_cast<uint32_t>(header.type);
  if (header.magic != FrameHeader::kMagic || header.zero != 0) {
    return no_frame("it does not begin as one");
  }
  if (type == 0 || type > static_cast<uint32_t>(FrameType::kLast)) {
    return no_frame("unknown type " + std::to_string(type));
  }
  if (header.size > kMaxPayload) {
    return no_frame("a payload of " + std::to_string(header.size) + " bytes");
  }
  if (header.fd_count > kMaxFds) {
    return no_frame(std::to_string(header.fd_count) + " descriptors");
  }
  return {};
}

}  // namespace

Message Frame::take_message(size_t offset) {
  // Memory, with the numbers of the descriptors in a block of their own where there are some: the
  // message has one hook that frees what it has.
  berth_message raw = payload.raw();
  payload.released();
  offset = std::min<size_t>(offset, raw.body.size);
  raw.body.data = static_cast<const char*>(raw.body.data) + offset;
  raw.body.size -= offset;
  if (fds.empty()) return Message(raw);
  struct Held {
    berth_bytes body;
    std::vector<int32_t> numbers;
  };
  auto* held = new Held{raw.body, {}};
  for (UniqueFd& fd : fds) held->numbers.push_back(fd.release());
  fds.clear();
  raw.body.owner = held;
  raw.body.release = [](void* owner) {
    auto* one = static_cast<Held*>(owner);
    if (one->body.release != nullptr) one->body.release(one->body.owner);
    delete one;
  };
  raw.fds = held->numbers.data();
  raw.fd_count = static_cast<uint32_t>(held->numbers.size());
  return Message(raw);
}

FrameReader::FrameReader() : buffer_(kBuffer) {}

std::span<char> FrameReader::space() {
  if (large_) {
    return {static_cast<char*>(large_payload_.data()) + large_filled_,
            large_header_.size - large_filled_};
  }
  return {buffer_.data() + end_, buffer_.size() - end_};
}

Status FrameReader::received(size_t count, std::vector<UniqueFd> fds) {
  std::move(fds.begin(), fds.end(), std::back_inserter(fds_));
  if (large_) {
    large_filled_ += count;
    if (large_filled_ < large_header_.size) return {};
    large_ = false;
    return complete(large_header_, std::move(large_payload_));
  }
  end_ += count;
  return parse();
}

Status FrameReader::complete(const FrameHeader& header, Message payload) {
  if (header.fd_count > fds_.size()) {
    return no_frame("descriptors that it names did not come with it");
  }
  Frame frame{header, std::move(payload), {}};
  const auto claimed = fds_.begin() + header.fd_count;
  std::move(fds_.begin(), claimed, std::back_inserter(frame.fds));
  fds_.erase(fds_.begin(), claimed);
  frames_.push_back(std::move(frame));
  return {};
}

Status FrameReader::parse() {
  while (end_ - begin_ >= sizeof(FrameHeader)) {
    FrameHeader header;
    std::memcpy(&header, buffer_.data() + begin_, sizeof header);
    BERTH_RETURN_IF_ERROR(check(header));
    const size_t there = end_ - begin_ - sizeof header;
    const bool whole = there >= header.size;
    if (!whole && header.size + sizeof header <= buffer_.size()) break;
    Message payload = Message::with_size(header.size);
    if (!payload.has_memory()) {
      return resource_exhausted("no memory for a frame of " + std::to_string(header.size) +
                                " bytes");
    }
    const char* bytes = buffer_.data() + begin_ + sizeof header;
    const size_t taken = std::min<size_t>(there, header.size);
    if (taken != 0) std::memcpy(payload.data(), bytes, taken);
    begin_ += sizeof header + taken;
    if (whole) {
      BERTH_RETURN_IF_ERROR(complete(header, std::move(payload)));
    } else {
      large_ = true;
      large_header_ = header;
      large_payload_ = std::move(payload);
      large_filled_ = taken;
    }
  }
  // Nothing waits longer than for the frame that it belongs to: what is left over was never named.
  if (begin_ == end_) {
    begin_ = end_ = 0;
  } else if (begin_ != 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (!in_frame() && !fds_.empty()) return no_frame("descriptors that no frame names");
  return {};
}

std::optional<Frame> FrameReader::next() {
  if (next_frame_ == frames_.size()) {
    frames_.clear();
    next_frame_ = 0;
    return std::nullopt;
  }
  return std::move(frames_[next_frame_++]);
}

std::string encode(const OpenFields& fields, const berth_header* headers, uint32_t count) {
  Encoder out;
  out.number(fields.target).number(fields.method).number(fields.deadline);
  out.number(fields.peer.known).number(fields.peer.pid);
  out.number(fields.peer.uid).number(fields.peer.gid).number(count);
  for (uint32_t i = 0; i < count; ++i) {
    out.text(view(headers[i].key)).text(view(headers[i].value));
  }
  return out.bytes();
}

Result<OpenFields> decode_open(std::string_view payload, size_t* end) {
  OpenFields out;
  Decoder in(payload);
  out.target = in.number<uint32_t>();
  out.method = in.number<uint32_t>();
  out.deadline = in.number<int64_t>();
  out.peer.known = in.number<uint32_t>();
  out.peer.pid = in.number<int32_t>();
  out.peer.uid = in.number<uint32_t>();
  out.peer.gid = in.number<uint32_t>();
  const uint32_t count = in.count(2 * sizeof(uint32_t));
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    std::string key(in.text());
    out.headers.emplace_back(std::move(key), in.text());
  }
  if (!in.ok()) return no_frame("a call whose beginning is cut");
  *end = in.at();
  return out;
}

std::string encode(const Status& status) {
  return Encoder()
      .number(static_cast<int32_t>(status.code()))
      .text(status.message())
      .text(status.details())
      .bytes();
}

std::optional<Status> decode_status(std::string_view payload) {
  Decoder in(payload);
  const auto code = in.number<int32_t>();
  std::string message(in.text());
  std::string details(in.text());
  if (!in.ok()) return std::nullopt;
  return Status(static_cast<Code>(code), std::move(message), std::move(details));
}

}  // namespace berth::link
