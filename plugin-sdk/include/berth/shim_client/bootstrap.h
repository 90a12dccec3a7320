// How a shim says where it serves, and how the bundle remembers it.
#pragma once

#include <berth/shim_client/bundle.h>

#include <string>

namespace berth::shim_client {

/// What a shim answers to `start`.
struct Bootstrap {
  int version = 2;      // of the task service: containerd.task.v2 or v3
  std::string address;  // "unix:///run/containerd/s/…"
  std::string protocol = "ttrpc";

  /// The path of the socket in the address; UNIMPLEMENTED for other protocols and other kinds of
  /// addresses.
  Result<std::string> socket_path() const;
  /// As it stands in bootstrap.json.
  std::string to_json() const;
};

/// Reads the three forms that shims answer in: an address alone (until 1.7), JSON (2.0 to 2.2), a
/// protobuf message containerd.runtime.bootstrap.v1.BootstrapResult (later). INVALID_ARGUMENT for
/// anything else.
Result<Bootstrap> parse_bootstrap(std::string_view answer);

/// What shims of the protobuf form want on their standard input: a BootstrapParams message.
struct BootstrapParams {
  TaskKey key;
  bool debug = false;
  std::string daemon_version;
  std::string ttrpc_address;
  std::string grpc_address;
  std::string daemon_binary;
  std::string options;  // a serialized google.protobuf.Any, or empty
  std::string serialize() const;
};

/// From bootstrap.json, else from the file "address" that older shims leave. NOT_FOUND without
/// both.
Result<Bootstrap> read_bootstrap(const Bundle& bundle);
/// Writes bootstrap.json, and "address" where the shim has not.
Status write_bootstrap(const Bundle& bundle, const Bootstrap& bootstrap);

}  // namespace berth::shim_client
