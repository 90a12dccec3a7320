// Level "serves", for snapshotters: the suite of plugin-sdk/testing against real mounts, by
// messages.
#include <filesystem>

#include "testing/snapshotter_suite.h"
#include "validate/placed.h"
#include "validate/under_test.h"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;
using ctl::validate::PluginUnderTest;

/// Passes each method of the service on to the plugin behind the bus.
class Forwarder final : public snapshots_v1::SnapshotsService {
 public:
  explicit Forwarder(Target target) : client_(target) {}

  // The suite calls from outside: without a call of which these would be part.
  Status Prepare(Context&, const snapshots_v1::PrepareSnapshotRequest& request,
                 snapshots_v1::PrepareSnapshotResponse* response) override {
    return client_.Prepare(Context(), named(request), response);
  }
  Status View(Context&, const snapshots_v1::ViewSnapshotRequest& request,
              snapshots_v1::ViewSnapshotResponse* response) override {
    return client_.View(Context(), named(request), response);
  }
  Status Mounts(Context&, const snapshots_v1::MountsRequest& request,
                snapshots_v1::MountsResponse* response) override {
    return client_.Mounts(Context(), named(request), response);
  }
  Status Commit(Context&, const snapshots_v1::CommitSnapshotRequest& request,
                google::protobuf::Empty* response) override {
    return client_.Commit(Context(), named(request), response);
  }
  Status Remove(Context&, const snapshots_v1::RemoveSnapshotRequest& request,
                google::protobuf::Empty* response) override {
    return client_.Remove(Context(), named(request), response);
  }
  Status Stat(Context&, const snapshots_v1::StatSnapshotRequest& request,
              snapshots_v1::StatSnapshotResponse* response) override {
    return client_.Stat(Context(), named(request), response);
  }
  Status Update(Context&, const snapshots_v1::UpdateSnapshotRequest& request,
                snapshots_v1::UpdateSnapshotResponse* response) override {
    return client_.Update(Context(), named(request), response);
  }
  Status Usage(Context&, const snapshots_v1::UsageRequest& request,
               snapshots_v1::UsageResponse* response) override {
    return client_.Usage(Context(), named(request), response);
  }
  Status Cleanup(Context&, const snapshots_v1::CleanupRequest& request,
                 google::protobuf::Empty* response) override {
    const Status cleaned = client_.Cleanup(Context(), named(request), response);
    // A snapshotter that removes at once has nothing to clean up and need not say so.
    return cleaned.code() == Code::kUnimplemented ? Status() : cleaned;
  }

  Status walk(const std::vector<std::string>& filters,
              const std::function<Status(const snapshots_v1::Info&)>& visit) const {
    snapshots_v1::ListSnapshotsRequest request;
    for (const std::string& filter : filters) request.add_filters(filter);
    auto reader = client_.List(Context(), named(request));
    snapshots_v1::ListSnapshotsResponse response;
    while (reader.Read(&response)) {
      for (const snapshots_v1::Info& info : response.info()) BERTH_RETURN_IF_ERROR(visit(info));
    }
    return reader.Finish();
  }

 private:
  /// Another daemon has several.
  template <typename Request>
  static Request named(Request request) {
    request.set_snapshotter(ctl::validate::subject().snapshotter);
    return request;
  }

  const snapshots_v1::SnapshotsClient client_;
};

/// Where the plugin runs elsewhere.
class PlacedAccess final : public SnapshotterAccess {
 public:
  explicit PlacedAccess(std::unique_ptr<ctl::validate::PlacedPlugin> plugin)
      : plugin_(std::move(plugin)), forwarder_(plugin_->target()) {}

  snapshots_v1::SnapshotsService& service() override { return forwarder_; }
  Status walk(const std::vector<std::string>& filters,
              const std::function<Status(const snapshots_v1::Info&)>& visit) override {
    return forwarder_.walk(filters, visit);
  }

 private:
  const std::unique_ptr<ctl::validate::PlacedPlugin> plugin_;
  Forwarder forwarder_;
};

class PluginAccess final : public SnapshotterAccess {
 public:
  explicit PluginAccess(PluginUnderTest plugin)
      : plugin_(std::move(plugin)), forwarder_(plugin_.target()) {}
  ~PluginAccess() override { plugin_.stop(); }

  snapshots_v1::SnapshotsService& service() override { return forwarder_; }
  Status walk(const std::vector<std::string>& filters,
              const std::function<Status(const snapshots_v1::Info&)>& visit) override {
    return forwarder_.walk(filters, visit);
  }

 private:
  PluginUnderTest plugin_;
  Forwarder forwarder_;
};

Result<std::unique_ptr<SnapshotterAccess>> connect_plugin(SnapshotterOptions options) {
  // The plugin is told of directories below this one, as by a daemon.
  const std::string directory = fs::path(options.root).parent_path() / "host";
  std::error_code error;
  const bool again = !fs::create_directory(directory, error);
  if (ctl::validate::subject().placement != "host") {
    BERTH_ASSIGN_OR_RETURN(auto placed, ctl::validate::PlacedPlugin::start(directory));
    return std::unique_ptr<SnapshotterAccess>(std::make_unique<PlacedAccess>(std::move(placed)));
  }
  BERTH_ASSIGN_OR_RETURN(PluginUnderTest plugin, PluginUnderTest::load());
  const Status started = plugin.start({}, directory);
  if (!started.ok() && plugin.was_skipped()) {
    return unimplemented("the plugin skips this machine: " + started.message());
  }
  if (!started.ok() && again) {
    return unimplemented("it cannot be started twice in one process: " + started.message());
  }
  if (!started.ok()) return started;
  return std::unique_ptr<SnapshotterAccess>(std::make_unique<PluginAccess>(std::move(plugin)));
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Plugin, SnapshotterSuite,
                         ::testing::Values(SnapshotterUnderTest{
                             .connect = connect_plugin, .base = [] {
                               return Result<std::string>(fs::temp_directory_path());
                             }}));

}  // namespace berth::testing
