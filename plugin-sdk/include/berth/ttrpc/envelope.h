// What a request frame and a response frame carry: two small protobuf messages
// (api/ttrpc/ttrpc.proto), coded by hand so that a shim needs no protobuf library. Unknown fields
// are skipped, as protobuf does.
#pragma once

#include <berth/status.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::ttrpc {

/// Header fields of a call; a key may occur more than once.
using Metadata = std::vector<std::pair<std::string, std::string>>;

/// The key that carries the namespace, as shims and daemons of containerd use it.
inline constexpr std::string_view kNamespaceKey = "containerd-namespace-ttrpc";

struct RequestEnvelope {
  std::string service;  // "containerd.task.v2.Task"
  std::string method;   // "State"
  std::string payload;
  int64_t timeout_ns = 0;  // what the caller still gives; 0 is no limit
  Metadata metadata;
};

struct ResponseEnvelope {
  Status status;
  std::string payload;
};

std::string encode(const RequestEnvelope& request);
std::string encode(const ResponseEnvelope& response);

/// INVALID_ARGUMENT when the bytes are not such a message; the output is then unspecified.
Status decode(std::string_view bytes, RequestEnvelope* out);
/// The same. Of a status with details the whole serialized google.rpc.Status becomes
/// Status::details().
Status decode(std::string_view bytes, ResponseEnvelope* out);

}  // namespace berth::ttrpc
