// The task service of one container: what a daemon asks over ttrpc. Versions 2 and 3 of it have the same messages.
#pragma once

#include <berth/ttrpc/server.h>

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "containerd/runtime/task/v2/shim.pb.h"
#include "process.h"

namespace @ident@_plugin {

namespace api = containerd::task::v2;

/// Tells the daemon; may wait for it.
using Publish = std::function<void(const std::string& topic, const google::protobuf::MessageLite& event)>;

class Service {
 public:
  Service(std::string id, Publish publish) : id_(std::move(id)), publish_(std::move(publish)) {}

  /// On a thread of its own, which it may hold.
  void handle(const berth::ttrpc::Request& request, const berth::ttrpc::Responder& responder);

 private:
  /// The container's first process is the one without a name.
  struct Task {
    Wanted wanted;
    std::unique_ptr<Process> process;  // none: an exec that was not started
    bool started = false, paused = false, ended = false;
    uint32_t code = 0;
    google::protobuf::Timestamp ended_at;
    std::vector<berth::ttrpc::Responder> waiting;
  };
  using TaskPointer = std::shared_ptr<Task>;

  berth::Result<std::string> call(const std::string& method, const std::string& payload);
  berth::Status wait(const std::string& payload, const berth::ttrpc::Responder& responder);
  berth::Result<TaskPointer> find(const std::string& id, const std::string& exec);
  berth::Result<std::string> create(const api::CreateTaskRequest& request);
  berth::Result<std::string> start(const api::StartRequest& request);
  berth::Result<std::string> remove(const api::DeleteRequest& request);
  berth::Result<std::string> exec(const api::ExecProcessRequest& request);
  berth::Result<std::string> state(const api::StateRequest& request);
  berth::Result<std::string> kill(const api::KillRequest& request);
  berth::Result<std::string> pause(const std::string& id, bool paused);
  void watch(const std::string& exec, const TaskPointer& task);

  const std::string id_;
  const Publish publish_;
  std::mutex mutex_;  // guards what follows; held while events are told, so that they come in order
  std::condition_variable changed_;
  std::string bundle_;
  std::map<std::string, TaskPointer> tasks_;
};

}  // namespace @ident@_plugin
