// The life of one container through a daemon's API, as `ctr run` leads it.
#pragma once

#include <string>

#include "client.h"
#include "images.h"

namespace berth::bench {

/// Runs `busybox sleep` in namespaces of its own, as Debian's shim of runc starts it. Steps in
/// order; each throws std::runtime_error when the daemon refuses.
class Container {
 public:
  explicit Container(const std::string& id) : id_(id) {}

  /// Snapshot on `image`, a committed snapshot with /bin/busybox, and container record.
  void make(Client& client, const std::string& image);
  /// Tasks.Create: shim and runc create.
  void create_task(Client& client);
  void start(Client& client);
  /// SIGKILL, and waits until it has ended.
  void kill(Client& client);
  /// Tasks.Delete: the shim ends.
  void delete_task(Client& client);
  /// Container record and snapshot.
  void remove(Client& client);

 private:
  const std::string id_;
  Mounts mounts_;
};

/// Brings the image of the containers in, with busybox from `program`, and unpacks it as the
/// snapshot `name`.
void unpack_busybox(Client& client, const std::string& program, const std::string& name);

}  // namespace berth::bench
