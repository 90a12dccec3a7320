// What the tests of the runtime share: peers that are no daemon, and a folder that is gone
// afterwards.
#pragma once

#include <berth/ttrpc/server.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <map>
#include <thread>

#include "containerd/events/task.pb.h"
#include "containerd/services/ttrpc/events/v1/events.pb.h"
#include "tasks_service.h"
#include "testing/folder.h"

namespace berth::runtime {

using berth::testing::eventually;
using berth::testing::TestFolder;

class TestContainers final : public ContainerSource {
 public:
  Result<containerd::services::containers::v1::Container> get(const Context& /*context*/,
                                                              const std::string& id) override {
    const auto found = records.find(id);
    if (found == records.end()) return not_found("container \"" + id + "\": not found");
    return found->second;
  }
  std::map<std::string, containerd::services::containers::v1::Container> records;
};

/// Events as "topic id" strings, in the order in which they came: from the runtime and, by ttrpc,
/// from shims.
class TestEvents final : public EventSink {
 public:
  void publish(const std::string& ns, const std::string& topic,
               const google::protobuf::Message& event) override {
    EXPECT_EQ(ns, "default");
    add("runtime " + topic, event.ShortDebugString());
  }
  void add(const std::string& what, const std::string& detail) {
    const std::lock_guard lock(mutex_);
    names_.push_back(what);
    details_.push_back(detail);
    arrived_.notify_all();
  }
  /// Waits until `count` events have come, and a moment longer for one too many.
  std::vector<std::string> wait_for(size_t count) {
    std::unique_lock lock(mutex_);
    arrived_.wait_for(lock, std::chrono::seconds(10), [&] { return names_.size() >= count; });
    arrived_.wait_for(lock, std::chrono::milliseconds(100), [&] { return names_.size() > count; });
    return names_;
  }
  std::vector<std::string> details() {
    const std::lock_guard lock(mutex_);
    return details_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<std::string> names_;
  std::vector<std::string> details_;
};

/// Keeps "checkpoints" as the names of the files that were in the directory.
class TestCheckpoints final : public CheckpointStore {
 public:
  Result<containerd::types::Descriptor> put_files(const Context& /*context*/,
                                                  const std::string& directory,
                                                  const std::string& ref) override {
    for (const auto& file : std::filesystem::directory_iterator(directory))
      files.push_back(file.path().filename());
    containerd::types::Descriptor descriptor;
    descriptor.set_digest("sha256:files of " + ref);
    return descriptor;
  }
  Result<containerd::types::Descriptor> put_spec(const Context& /*context*/, std::string_view bytes,
                                                 const std::string& ref) override {
    spec = bytes;
    containerd::types::Descriptor descriptor;
    descriptor.set_digest("sha256:spec of " + ref);
    return descriptor;
  }
  Status get_files(const Context& /*context*/, const containerd::types::Descriptor& descriptor,
                   const std::string& directory) override {
    if (descriptor.digest() != "sha256:known") return not_found("blob " + descriptor.digest());
    std::ofstream(directory + "/pages-1.img") << "memory";
    return {};
  }

  std::vector<std::string> files;
  std::string spec;
};

/// A daemon's worth of surroundings for a TaskRuntime, which can be restarted.
class TestDaemon {
 public:
  explicit TestDaemon(const std::vector<std::string>& shim_path) {
    loop = *ttrpc::Loop::start();
    std::filesystem::create_directory(folder / "state");
    std::filesystem::create_directory(folder / "root");
    settings.roots = {folder / "state", folder / "root"};
    settings.launcher.shim_path = shim_path;
    settings.launcher.path = "/usr/sbin:/usr/bin:/sbin:/bin";
    settings.launcher.address = folder / "berthd.sock";
    settings.launcher.ttrpc_address = folder / "berthd.sock.ttrpc";
    settings.launcher.publish_binary = "/bin/true";
    serve_events();
    start();
  }
  ~TestDaemon() { stop(); }

  void serve_events() {
    auto listening = ttrpc::listen_unix(settings.launcher.ttrpc_address, 0600);
    ASSERT_TRUE(listening.ok()) << listening.status().to_string();
    auto server = ttrpc::Server::serve(
        loop, std::move(*listening),
        [this](const ttrpc::Request& request, const ttrpc::Responder& responder) {
          containerd::services::events::ttrpc::v1::ForwardRequest forward;
          EXPECT_EQ(request.service, "containerd.services.events.ttrpc.v1.Events");
          EXPECT_TRUE(forward.ParseFromString(request.payload));
          containerd::events::TaskDelete deleted;
          if (forward.envelope().topic() == "/tasks/delete" && runtime != nullptr &&
              deleted.ParseFromString(forward.envelope().event().value())) {
            runtime->deletion_announced({forward.envelope().namespace_(), deleted.container_id()});
          }
          events.add("shim " + forward.envelope().topic(), forward.envelope().event().type_url());
          responder.finish({}, "");
        });
    ASSERT_TRUE(server.ok());
    events_server = std::move(*server);
  }
  void start() {
    runtime = std::make_unique<TaskRuntime>(
        settings, loop,
        Peers{&containers, &events, &checkpoints,
              [](std::function<void()> work) {
                std::thread(std::move(work)).detach();  // the runtime waits for what it started
                return true;
              },
              [this](LogLevel level, std::string_view text) {
                const std::lock_guard lock(log_mutex);
                if (level >= LogLevel::kWarn) log.emplace_back(text);
              }});
    tasks = std::make_unique<TasksService>(runtime.get());
    const Status status = runtime->recover();
    EXPECT_TRUE(status.ok()) << status.to_string();
  }
  void stop() {
    tasks.reset();
    runtime.reset();
  }
  std::string bundle(const std::string& id) const {
    return settings.roots.state + "/default/" + id;
  }
  /// What was logged at warning level and above, one line each.
  std::string logged() {
    const std::lock_guard lock(log_mutex);
    std::string all;
    for (const std::string& line : log) all += line + "\n";
    return all;
  }
  std::future<std::pair<Status, tasks_api::WaitResponse>> wait(const std::string& id,
                                                               const std::string& exec_id = "") {
    auto promise = std::make_shared<std::promise<std::pair<Status, tasks_api::WaitResponse>>>();
    tasks_api::WaitRequest request;
    request.set_container_id(id);
    request.set_exec_id(exec_id);
    tasks->wait(context, request,
                [promise](const Status& status, const tasks_api::WaitResponse& response) {
                  promise->set_value({status, response});
                });
    return promise->get_future();
  }

  TestFolder folder;
  std::shared_ptr<ttrpc::Loop> loop;
  RuntimeSettings settings;
  TestContainers containers;
  TestCheckpoints checkpoints;
  TestEvents events;
  std::mutex log_mutex;
  std::vector<std::string> log;
  std::unique_ptr<ttrpc::Server> events_server;
  std::unique_ptr<TaskRuntime> runtime;
  std::unique_ptr<TasksService> tasks;
  Context context = Context().with_ns("default");
};

}  // namespace berth::runtime
