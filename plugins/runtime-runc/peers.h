// What the runtime needs of the rest of the daemon, as interfaces that a test can stand in for.
#pragma once

#include <berth/context.h>

#include <functional>
#include <string>

#include "containerd/services/containers/v1/containers.pb.h"
#include "containerd/types/descriptor.pb.h"
#include "google/protobuf/message.h"

namespace berth::runtime {

/// Container records. May block; any thread.
class ContainerSource {
 public:
  virtual ~ContainerSource() = default;
  /// The record `id` in the context's namespace; NOT_FOUND when there is none.
  virtual Result<containerd::services::containers::v1::Container> get(const Context& context,
                                                                      const std::string& id) = 0;
};

/// Where events go. May block; any thread.
class EventSink {
 public:
  virtual ~EventSink() = default;
  /// `topic` as "/tasks/exit". An event that cannot be delivered is logged there, nobody waits for
  /// it.
  virtual void publish(const std::string& ns, const std::string& topic,
                       const google::protobuf::Message& event) = 0;
};

/// Checkpoints as blobs. May block; any thread.
class CheckpointStore {
 public:
  virtual ~CheckpointStore() = default;
  /// Puts all files of `directory` into the store as one tar; `ref` names the write.
  virtual Result<containerd::types::Descriptor> put_files(const Context& context,
                                                          const std::string& directory,
                                                          const std::string& ref) = 0;
  /// Puts the container's specification, a google.protobuf.Any on the wire, into the store.
  virtual Result<containerd::types::Descriptor> put_spec(const Context& context,
                                                         std::string_view spec,
                                                         const std::string& ref) = 0;
  /// Extracts what put_files() stored into `directory`. NOT_FOUND when there is no such blob.
  virtual Status get_files(const Context& context, const containerd::types::Descriptor& files,
                           const std::string& directory) = 0;
};

enum class LogLevel { kDebug, kInfo, kWarn, kError };

struct Peers {
  ContainerSource* containers = nullptr;
  EventSink* events = nullptr;
  CheckpointStore* checkpoints = nullptr;  // none without a differ
  /// Runs work on a thread that may block; false when there is none.
  std::function<bool(std::function<void()>)> spawn;
  std::function<void(LogLevel level, std::string_view text)> log;
};

}  // namespace berth::runtime
