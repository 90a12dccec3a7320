// Status and Result<T>: how everything in Berth that can fail says so.
//
// Codes are the canonical gRPC codes, since those are what containerd's clients branch on. A message says what was
// attempted, on which object, why it failed and, where it helps, what to do; it is written once, where the failure
// is understood. Neither type throws. Both are values: copy them freely; no thread rule beyond that of any value.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace berth {

enum class Code : int32_t {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

/// Name of a code as gRPC documents it, for example "NOT_FOUND". Values outside the enum give "UNKNOWN".
constexpr std::string_view code_name(Code code) {
  constexpr std::string_view kNames[] = {
      "OK",           "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",
      "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",    "PERMISSION_DENIED",
      "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
      "UNIMPLEMENTED", "INTERNAL",      "UNAVAILABLE",       "DATA_LOSS",
      "UNAUTHENTICATED"};
  const auto index = static_cast<uint32_t>(code);
  return index < 17 ? kNames[index] : kNames[2];
}

/// The outcome of an operation: a code, a message for people, and optional details (a serialized google.rpc.Status).
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message, std::string details = {})
      : code_(code), message_(std::move(message)), details_(std::move(details)) {}

  static Status ok_status() { return {}; }

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::string& details() const { return details_; }

  /// "NOT_FOUND: image "x": …", for logs.
  std::string to_string() const {
    return ok() ? "OK" : std::string(code_name(code_)) + ": " + message_;
  }

  /// The same code with `context` and ": " before the message. OK stays OK.
  Status with_context(std::string_view context) const {
    if (ok()) return *this;
    return {code_, std::string(context) + ": " + message_, details_};
  }

 private:
  Code code_ = Code::kOk;
  std::string message_;
  std::string details_;
};

/// A value, or the Status (never OK) that says why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT: implicit by design
  Result(Status status) : status_(std::move(status)) {  // NOLINT: implicit by design
    if (status_.ok()) status_ = Status(Code::kInternal, "a Result was made from an OK status without a value");
  }

  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Status& status() const { return status_; }

  /// Only when ok().
  T& value() & { return *value_; }
  const T& value() const& { return *value_; }
  T&& value() && { return std::move(*value_); }
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return std::move(*value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

inline Status invalid_argument(std::string m) { return {Code::kInvalidArgument, std::move(m)}; }
inline Status not_found(std::string m) { return {Code::kNotFound, std::move(m)}; }
inline Status already_exists(std::string m) { return {Code::kAlreadyExists, std::move(m)}; }
inline Status failed_precondition(std::string m) { return {Code::kFailedPrecondition, std::move(m)}; }
inline Status resource_exhausted(std::string m) { return {Code::kResourceExhausted, std::move(m)}; }
inline Status unavailable(std::string m) { return {Code::kUnavailable, std::move(m)}; }
inline Status unimplemented(std::string m) { return {Code::kUnimplemented, std::move(m)}; }
inline Status internal_error(std::string m) { return {Code::kInternal, std::move(m)}; }
inline Status unknown_error(std::string m) { return {Code::kUnknown, std::move(m)}; }
inline Status out_of_range(std::string m) { return {Code::kOutOfRange, std::move(m)}; }
inline Status aborted(std::string m) { return {Code::kAborted, std::move(m)}; }
inline Status cancelled(std::string m) { return {Code::kCancelled, std::move(m)}; }
inline Status data_loss(std::string m) { return {Code::kDataLoss, std::move(m)}; }
inline Status deadline_exceeded(std::string m) { return {Code::kDeadlineExceeded, std::move(m)}; }
inline Status permission_denied(std::string m) { return {Code::kPermissionDenied, std::move(m)}; }

/// The canonical code nearest to an errno value.
constexpr Code code_of_errno(int error) {
  switch (error) {
    case 0: return Code::kOk;
    case ENOENT: return Code::kNotFound;
    case EEXIST: return Code::kAlreadyExists;
    case EINVAL: case ENAMETOOLONG: return Code::kInvalidArgument;
    case EACCES: case EPERM: case EROFS: return Code::kPermissionDenied;
    case ENOSPC: case EDQUOT: case EMFILE: case ENFILE: case ENOMEM: return Code::kResourceExhausted;
    case EBUSY: case ENOTEMPTY: return Code::kFailedPrecondition;
    case EAGAIN: case ECONNREFUSED: case ECONNRESET: case EPIPE: return Code::kUnavailable;
    case ETIMEDOUT: return Code::kDeadlineExceeded;
    case ENOSYS: case EOPNOTSUPP: return Code::kUnimplemented;
    default: return Code::kInternal;
  }
}

/// A failed system call as a Status: "`attempt`: No space left on device". `attempt` names operation and object,
/// for example "write /var/lib/berth/…/data". Pass errno at once, before anything else can change it.
inline Status errno_status(int error, std::string_view attempt) {
  char buffer[128];
  const char* text = strerror_r(error, buffer, sizeof buffer);  // GNU variant: returns the text
  return {code_of_errno(error), std::string(attempt) + ": " + text};
}

#define BERTH_CONCAT_INNER(a, b) a##b
#define BERTH_CONCAT(a, b) BERTH_CONCAT_INNER(a, b)

/// Returns from the enclosing function when `expr` (a Status) is not OK.
#define BERTH_RETURN_IF_ERROR(expr)                           \
  do {                                                        \
    ::berth::Status berth_status_ = (expr);                   \
    if (!berth_status_.ok()) return berth_status_;            \
  } while (false)

/// BERTH_ASSIGN_OR_RETURN(auto fd, open_file(path)): the value, or return of its Status.
#define BERTH_ASSIGN_OR_RETURN(decl, expr) \
  BERTH_ASSIGN_OR_RETURN_INNER(BERTH_CONCAT(berth_result_, __COUNTER__), decl, expr)
#define BERTH_ASSIGN_OR_RETURN_INNER(tmp, decl, expr) \
  auto tmp = (expr);                                  \
  if (!tmp.ok()) return tmp.status();                 \
  decl = std::move(tmp).value()

}  // namespace berth
