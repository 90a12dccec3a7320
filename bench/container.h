// The life of one container through a daemon's API, as `ctr run` leads it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client.h"
#include "images.h"

namespace berth::bench {

/// What a container runs, and with what.
struct Workload {
  std::vector<std::string> command = {"sleep", "3600"};  // of busybox
  std::string runtime;                                   // path of the OCI runtime; empty: runc
};

/// Specification with the namespaces and mounts that ctr gives a container; its cgroup is in that
/// of `space`.
std::string runtime_spec(const std::string& space, const std::string& id,
                         const std::vector<std::string>& command);

/// Another process of it, as the runtimes take it.
std::string process_spec(const std::vector<std::string>& command);

/// Runs busybox in namespaces of its own. Steps in order; each throws std::runtime_error when the
/// daemon refuses.
class Container {
 public:
  explicit Container(const std::string& id, Workload workload = {})
      : id_(id), workload_(std::move(workload)) {}

  /// Snapshot on `image`, a committed snapshot with /bin/busybox, and container record.
  void make(Client& client, const std::string& image);
  /// Tasks.Create: shim and runc create.
  void create_task(Client& client);
  void start(Client& client);
  /// The exit status of its process, once it has ended.
  uint32_t wait(Client& client);
  /// One more process from its start to its end, which has to be a good one.
  void exec(Client& client, const std::string& exec_id, const std::vector<std::string>& command);
  /// SIGKILL, and waits until it has ended.
  void kill(Client& client);
  /// Tasks.Delete: the shim ends.
  void delete_task(Client& client);
  /// Container record and snapshot.
  void remove(Client& client);

 private:
  const std::string id_;
  const Workload workload_;
  Mounts mounts_;
};

/// Brings the image of the containers in, with busybox from `program`, and unpacks it as the
/// snapshot `name`.
void unpack_busybox(Client& client, const std::string& program, const std::string& name);

}  // namespace berth::bench
