// Context: on whose behalf something is done. Handlers receive one and pass it, or a variation of it, to the calls that
// they make.
#pragma once

#include <berth/message.h>
#include <time.h>

#include <chrono>
#include <map>

namespace berth {

inline constexpr std::string_view kNamespaceHeader = "containerd-namespace";
inline constexpr std::string_view kLeaseHeader = "containerd-lease";

/// CLOCK_MONOTONIC in nanoseconds, the unit of all deadlines.
inline int64_t monotonic_now() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

/// Headers, deadline, cancellation and caller of the work under way. A value; cheap to copy when no header was set.
/// Bound to a call it is valid until that call is finished (ABI rule 12); for work that goes on longer, take detached().
class Context {
 public:
  /// Without a call: no deadline, no cancellation, only the headers set here. For background work and tests.
  Context() = default;
  explicit Context(const berth_call* call) : call_(call) {}

  /// The value of a header (lower-case key), empty when absent. Valid as long as the context and its call.
  std::string_view header(std::string_view key) const {
    if (auto found = headers_.find(key); found != headers_.end()) return found->second;
    return call_ == nullptr ? std::string_view() : view(detail::host->header(call_, str(key)));
  }
  /// The containerd namespace of the caller, empty when there is none.
  std::string_view ns() const { return header(kNamespaceHeader); }
  /// The namespace, or FAILED_PRECONDITION, which is what containerd's clients expect when it is missing.
  Result<std::string> require_ns() const {
    const std::string_view name = ns();
    if (name.empty()) {
      return failed_precondition(
          "namespace is required: set the header containerd-namespace: failed precondition");
    }
    return std::string(name);
  }

  bool cancelled() const { return call_ != nullptr && detail::host->cancelled(call_) != 0; }
  int64_t deadline() const {
    const int64_t inherited =
        call_ == nullptr ? BERTH_FOREVER : detail::host->deadline(call_);
    return inherited < deadline_ ? inherited : deadline_;
  }
  /// Who called, or nothing when the call began inside the daemon.
  std::optional<berth_peer> peer() const {
    if (call_ == nullptr) return std::nullopt;
    berth_peer peer{};
    peer.struct_size = sizeof peer;
    detail::host->peer(call_, &peer);
    if (peer.known == 0) return std::nullopt;
    return peer;
  }

  /// The same context with one header replaced for the calls made with it. An empty value removes the header.
  Context with(std::string_view key, std::string_view value) const {
    Context copy = *this;
    copy.headers_.insert_or_assign(std::string(key), std::string(value));
    return copy;
  }
  Context with_ns(std::string_view name) const { return with(kNamespaceHeader, name); }
  Context with_timeout(std::chrono::nanoseconds timeout) const {
    Context copy = *this;
    const int64_t end = monotonic_now() + timeout.count();
    if (end < copy.deadline_) copy.deadline_ = end;
    return copy;
  }
  /// The same headers with neither deadline nor cancellation: for work that outlives the call (ABI rule 12).
  Context detached() const {
    Context copy;
    if (call_ != nullptr) {
      const berth_header* headers = nullptr;
      const uint32_t count = detail::host->headers(call_, &headers);
      for (uint32_t i = 0; i < count; ++i) {
        const std::string_view key = view(headers[i].key);
        if (!key.starts_with("berth-")) {
          copy.headers_.insert_or_assign(std::string(key), std::string(view(headers[i].value)));
        }
      }
    }
    for (const auto& [key, value] : headers_) copy.headers_.insert_or_assign(key, value);
    return copy;
  }

  const berth_call* call() const { return call_; }

 private:
  friend class CallOptions;
  const berth_call* call_ = nullptr;
  int64_t deadline_ = BERTH_FOREVER;
  std::map<std::string, std::string, std::less<>> headers_;
};

/// A context in the form that the ABI takes. Borrows from the context.
class CallOptions {
 public:
  explicit CallOptions(const Context& context) {
    for (const auto& [key, value] : context.headers_) {
      headers_.push_back({str(key), str(value), 0});
    }
    raw_ = {sizeof raw_, static_cast<uint32_t>(headers_.size()), headers_.data(), context.call_,
            context.deadline_};
  }
  CallOptions(const CallOptions&) = delete;
  CallOptions& operator=(const CallOptions&) = delete;
  const berth_call_options* raw() const { return &raw_; }

 private:
  std::vector<berth_header> headers_;
  berth_call_options raw_{};
};

}  // namespace berth
