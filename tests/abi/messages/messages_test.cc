// A snapshotter that was built with other messages (CMakeLists.txt) beside today's plugins in a
// real berthd: all of overlayfs is asked for through the services that clients call.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "containerd/services/snapshots/v1/snapshots.pb.h"
#include "daemon_process.h"
#include "rpc_client.h"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;
namespace api = containerd::services::snapshots::v1;

TEST(OtherMessages, AreThePluginsOwn) {
  if (::geteuid() != 0) GTEST_SKIP() << "overlayfs is for root";
  const TemporaryFolder folder("messages");
  const fs::path plugins = folder.path();
  for (const auto& file : fs::directory_iterator(fs::path(OWN_PLUGIN).parent_path())) {
    if (file.path().extension() == ".so" && file.path() != OWN_PLUGIN) {
      fs::create_symlink(file.path(), plugins / file.path().filename());
    }
  }
  fs::copy(OTHER_PLUGIN, plugins / "other.so");
  DaemonProcess daemon(folder.path());
  ASSERT_TRUE(daemon.wait_until_serving()) << daemon.log();
  RpcClient client(daemon.address());
  const std::string service = "/containerd.services.snapshots.v1.Snapshots/";
  const Headers headers = {{"containerd-namespace", "messages"}};

  api::PrepareSnapshotRequest prepare;
  prepare.set_snapshotter("overlayfs");
  prepare.set_key("work");
  (*prepare.mutable_labels())["from"] = "today";
  api::PrepareSnapshotResponse prepared;
  Status status = client.unary(service + "Prepare", prepare, &prepared, headers);
  ASSERT_TRUE(status.ok()) << status.message() << daemon.log();
  ASSERT_EQ(prepared.mounts_size(), 1);
  EXPECT_EQ(prepared.mounts(0).type(), "bind");
  EXPECT_THAT(prepared.mounts(0).options(), ::testing::Contains("rw"));
  EXPECT_TRUE(fs::is_directory(prepared.mounts(0).source())) << prepared.mounts(0).source();

  api::StatSnapshotRequest stat;
  stat.set_snapshotter("overlayfs");
  stat.set_key("work");
  api::StatSnapshotResponse info;
  status = client.unary(service + "Stat", stat, &info, headers);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(info.info().labels().at("from"), "today");
  EXPECT_EQ(info.info().kind(), api::ACTIVE);
  EXPECT_GT(info.info().created_at().seconds(), 1'700'000'000);
}

}  // namespace
}  // namespace berth::testing
