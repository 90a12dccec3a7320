#include "rpc/error_class.h"

#include <string_view>

namespace berth::rpc {
namespace {

/// As github.com/containerd/errdefs names them; empty: none, as where its services end a message
/// with none.
std::string_view class_of(Code code) {
  switch (code) {
    case Code::kCancelled:
      return "context canceled";
    case Code::kInvalidArgument:
      return "invalid argument";
    case Code::kDeadlineExceeded:
      return "context deadline exceeded";
    case Code::kNotFound:
      return "not found";
    case Code::kAlreadyExists:
      return "already exists";
    case Code::kPermissionDenied:
      return "permission denied";
    case Code::kResourceExhausted:
      return "resource exhausted";
    case Code::kFailedPrecondition:
      return "failed precondition";
    case Code::kAborted:
      return "aborted";
    case Code::kOutOfRange:
      return "out of range";
    case Code::kUnimplemented:
      return "not implemented";
    case Code::kUnavailable:
      return "unavailable";
    default:
      return {};
  }
}

}  // namespace

Status with_class(Status status) {
  const std::string_view name = class_of(status.code());
  const std::string_view message = status.message();
  if (name.empty() || message == name) return status;
  if (message.ends_with(name) && message.substr(0, message.size() - name.size()).ends_with(": "))
    return status;
  std::string text(message);
  if (!text.empty()) text += ": ";
  text += name;
  return {status.code(), std::move(text), status.details()};
}

}  // namespace berth::rpc
