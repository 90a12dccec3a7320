// Bytes that cross the plugin boundary, as C++ values. Works with any message class that has ByteSizeLong(),
// SerializeToArray() and ParseFromArray(), as protobuf's have; includes no protobuf header.
#pragma once

#include <berth/abi.h>
#include <berth/fd.h>
#include <berth/status.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth {

namespace detail {
/// The host's table, set before anything else of this plugin runs. One per shared object (hidden visibility).
inline const berth_host* host = nullptr;
}  // namespace detail

inline std::string_view view(berth_str text) {
  return text.data == nullptr ? std::string_view() : std::string_view(text.data, text.size);
}
inline berth_str str(std::string_view text) {
  return {text.data(), static_cast<uint32_t>(text.size()), 0};
}

inline Status to_status(const berth_status& status) {
  return {static_cast<Code>(status.code), std::string(view(status.message)),
          std::string(view(status.details))};
}
/// Borrows from `status`, which must outlive the result.
inline berth_status borrow(const Status& status) {
  return {static_cast<int32_t>(status.code()), 0, str(status.message()), str(status.details())};
}

/// One message with its descriptors; owns both. Movable.
class Message {
 public:
  Message() = default;
  explicit Message(const berth_message& raw) : raw_(raw) {}
  Message(Message&& other) noexcept : raw_(std::exchange(other.raw_, {})) {}
  Message& operator=(Message&& other) noexcept {
    if (this != &other) {
      reset();
      raw_ = std::exchange(other.raw_, {});
    }
    return *this;
  }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  ~Message() { reset(); }

  /// A message that holds a copy of `bytes`, in memory of the host. Ask has_memory().
  static Message copy_of(std::string_view bytes) {
    Message message = with_size(bytes.size());
    if (message.raw_.body.data != nullptr && !bytes.empty()) {
      std::memcpy(message.data(), bytes.data(), bytes.size());
    }
    return message;
  }
  /// A message that keeps `bytes`, without a copy. The code of this shared object frees them.
  static Message owning(std::string bytes) {
    auto* owner = new std::string(std::move(bytes));
    Message message;
    message.raw_.body = {owner->data(), owner->size(),
                         [](void* held) { delete static_cast<std::string*>(held); }, owner, 0};
    return message;
  }
  /// A message of `size` bytes to be filled in through data(); 64-byte aligned. Ask has_memory().
  static Message with_size(uint64_t size) {
    Message message;
    void* memory = detail::host->alloc(size == 0 ? 1 : size);
    if (memory == nullptr) return message;
    message.raw_.body = {memory, size, detail::host->dealloc, memory, 0};
    return message;
  }
  /// A protobuf message, serialized. Ask has_memory().
  template <typename T>
  static Message of(const T& value) {
    Message message = with_size(value.ByteSizeLong());
    if (message.raw_.body.size != 0) {
      value.SerializeToArray(message.data(), static_cast<int>(message.raw_.body.size));
    }
    return message;
  }

  /// False when there was no memory for it, and of one that was never filled. A message without
  /// content has memory all the same.
  bool has_memory() const { return raw_.body.data != nullptr; }

  std::string_view bytes() const {
    return {static_cast<const char*>(raw_.body.data), raw_.body.size};
  }
  /// Writable only for messages made here.
  void* data() { return const_cast<void*>(raw_.body.data); }

  /// Takes the descriptors out; they are the caller's now.
  std::vector<UniqueFd> take_fds() {
    std::vector<UniqueFd> fds;
    for (uint32_t i = 0; i < raw_.fd_count; ++i) fds.emplace_back(raw_.fds[i]);
    raw_.fd_count = 0;
    return fds;
  }

  template <typename T>
  Status parse(T* out) const {
    if (!out->ParseFromArray(raw_.body.data, static_cast<int>(raw_.body.size))) {
      return invalid_argument("message of " + std::to_string(raw_.body.size) +
                              " bytes is not a well-formed " + out->GetTypeName());
    }
    return {};
  }

  const berth_message& raw() const { return raw_; }
  /// After the raw message was handed over: forgets it.
  void released() { raw_ = {}; }

 private:
  void reset() {
    for (uint32_t i = 0; i < raw_.fd_count; ++i) ::close(raw_.fds[i]);
    if (raw_.body.release != nullptr) raw_.body.release(raw_.body.owner);
    raw_ = {};
  }

  berth_message raw_{};
};

}  // namespace berth
