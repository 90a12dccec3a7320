// A host for unit tests: runs one plugin class on the real bus, with peers, configuration and
// directories of the test's making. No daemon, no shared object, no socket. Link Berth::testing.
//
//   berth::testing::FakeHost host;
//   host.bind("content", host.serve<FakeContent>());
//   host.config(R"({"root_path": ""})");
//   ASSERT_TRUE(host.start<OverlayPlugin>("io.containerd.snapshotter.v1", "overlayfs").ok());
//   SnapshotsClient client(host.target());
#pragma once

#include <berth/plugin.h>

#include <map>
#include <memory>
#include <string>

namespace berth::testing {

/// One thread. What it starts lives until the process ends, as in the daemon.
class FakeHost {
 public:
  /// Makes a temporary directory that holds the plugin's root and state; removed by the destructor.
  FakeHost();
  /// Takes a directory that is the caller's: a second host on it finds what the first one left.
  explicit FakeHost(std::string directory);
  /// Stops the plugin.
  ~FakeHost();
  FakeHost(const FakeHost&) = delete;
  FakeHost& operator=(const FakeHost&) = delete;

  /// The configuration as a JSON object; before start().
  void config(std::string json) { config_ = std::move(json); }
  /// Connects a requirement to a peer; several calls with one name bind several. Before start().
  void bind(const std::string& requirement, Target peer) { bindings_[requirement].push_back(peer); }

  /// A peer made of one service class; its `id` is what Target::id() tells.
  template <typename S>
  Target serve(std::unique_ptr<S> service = std::make_unique<S>(), const std::string& id = "fake") {
    return serve_table(
        *detail::service_table<S, S>(), id,
        [](void* instance, uint32_t, uint32_t method, berth_call* call) {
          static_cast<Service*>(static_cast<S*>(instance))->handle(method, ServerCall(call));
        },
        service.release());
  }

  /// A peer that serves no method: calls to it are UNIMPLEMENTED. For requirements that must be bound.
  Target serve_nothing(const std::string& id = "nothing");

  /// probe, create, start of plugin class T, as the daemon does it.
  template <typename T>
  Status start(const std::string& type, const std::string& id) {
    return start_plugin(*detail::Registration<T>::plugin(type, id), type, id);
  }
  /// The same for an entry of another making, such as a plugin in C.
  Status start_plugin(const berth_plugin& plugin, const std::string& type, const std::string& id);
  void stop();

  /// The started plugin, for a typed client.
  Target target() const { return target_; }
  const std::string& directory() const { return directory_; }

 private:
  struct Running;
  using Handle = void (*)(void*, uint32_t, uint32_t, berth_call*);
  Target serve_table(const berth_service& service, const std::string& id, Handle handle,
                     void* instance);

  std::string directory_;
  bool own_directory_ = true;
  std::string config_ = "{}";
  std::map<std::string, std::vector<Target>> bindings_;
  Target target_;
  Running* running_ = nullptr;  // lives for ever once made
};

}  // namespace berth::testing
