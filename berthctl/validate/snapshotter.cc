// Level "serves", for snapshotters: the suite of plugin-sdk/testing against real mounts, by
// messages.
#include <filesystem>

#include "testing/snapshotter_suite.h"
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
    return client_.Prepare(Context(), request, response);
  }
  Status View(Context&, const snapshots_v1::ViewSnapshotRequest& request,
              snapshots_v1::ViewSnapshotResponse* response) override {
    return client_.View(Context(), request, response);
  }
  Status Mounts(Context&, const snapshots_v1::MountsRequest& request,
                snapshots_v1::MountsResponse* response) override {
    return client_.Mounts(Context(), request, response);
  }
  Status Commit(Context&, const snapshots_v1::CommitSnapshotRequest& request,
                google::protobuf::Empty* response) override {
    return client_.Commit(Context(), request, response);
  }
  Status Remove(Context&, const snapshots_v1::RemoveSnapshotRequest& request,
                google::protobuf::Empty* response) override {
    return client_.Remove(Context(), request, response);
  }
  Status Stat(Context&, const snapshots_v1::StatSnapshotRequest& request,
              snapshots_v1::StatSnapshotResponse* response) override {
    return client_.Stat(Context(), request, response);
  }
  Status Update(Context&, const snapshots_v1::UpdateSnapshotRequest& request,
                snapshots_v1::UpdateSnapshotResponse* response) override {
    return client_.Update(Context(), request, response);
  }
  Status Usage(Context&, const snapshots_v1::UsageRequest& request,
               snapshots_v1::UsageResponse* response) override {
    return client_.Usage(Context(), request, response);
  }
  Status Cleanup(Context&, const snapshots_v1::CleanupRequest& request,
                 google::protobuf::Empty* response) override {
    const Status cleaned = client_.Cleanup(Context(), request, response);
    // A snapshotter that removes at once has nothing to clean up and need not say so.
    return cleaned.code() == Code::kUnimplemented ? Status() : cleaned;
  }

  Status walk(const std::vector<std::string>& filters,
              const std::function<Status(const snapshots_v1::Info&)>& visit) const {
    snapshots_v1::ListSnapshotsRequest request;
    for (const std::string& filter : filters) request.add_filters(filter);
    auto reader = client_.List(Context(), request);
    snapshots_v1::ListSnapshotsResponse response;
    while (reader.Read(&response)) {
      for (const snapshots_v1::Info& info : response.info()) BERTH_RETURN_IF_ERROR(visit(info));
    }
    return reader.Finish();
  }

 private:
  const snapshots_v1::SnapshotsClient client_;
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
