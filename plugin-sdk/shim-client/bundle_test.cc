#include <berth/shim_client/bootstrap.h>
#include <berth/shim_client/bundle.h>
#include <berth/shim_client/mounts.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <fstream>

#include "testing/folder.h"

namespace berth::shim_client {
namespace {

using berth::testing::TestFolder;

class BundleTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(folder / "state");
    std::filesystem::create_directory(folder / "root");
  }
  static mode_t mode_of(const std::string& path) {
    struct stat found {};
    EXPECT_EQ(::stat(path.c_str(), &found), 0) << path;
    return found.st_mode & 07777;
  }
  TestFolder folder;
  BundleRoots roots{folder / "state", folder / "root"};
};

TEST_F(BundleTest, IsLaidOutAsContainerdDoes) {
  const mode_t before = ::umask(0077);
  auto bundle = Bundle::create(roots, {"default", "c1"}, "{}");
  ::umask(before);
  ASSERT_TRUE(bundle.ok()) << bundle.status().to_string();
  EXPECT_EQ(bundle->path(), folder / "state/default/c1");
  EXPECT_EQ(mode_of(folder / "state/default"), 0711u);
  EXPECT_EQ(mode_of(bundle->path()), 0700u);
  EXPECT_EQ(mode_of(bundle->rootfs()), 0711u);
  EXPECT_EQ(*bundle->read("config.json"), "{}");
  EXPECT_EQ(std::filesystem::read_symlink(bundle->file("work")), folder / "root/default/c1");
  EXPECT_TRUE(std::filesystem::is_directory(folder / "root/default/c1"));
  EXPECT_EQ(Bundle::create(roots, {"default", "c1"}, "").status().code(), Code::kAlreadyExists);
  EXPECT_TRUE(std::filesystem::exists(bundle->path()));
  ASSERT_TRUE(bundle->remove().ok());
  EXPECT_TRUE(std::filesystem::is_empty(folder / "state/default"));
  EXPECT_TRUE(std::filesystem::is_empty(folder / "root/default"));
  EXPECT_TRUE(bundle->remove().ok());
}

TEST_F(BundleTest, WorkDirectoryOfBeforeARebootIsReplaced) {
  std::filesystem::create_directories(folder / "root/default/c1/old");
  const auto bundle = Bundle::create(roots, {"default", "c1"}, "{}");
  ASSERT_TRUE(bundle.ok()) << bundle.status().to_string();
  EXPECT_TRUE(std::filesystem::is_empty(folder / "root/default/c1"));
}

TEST_F(BundleTest, NamesCannotLeaveTheirFolder) {
  for (const char* id : {"", "..", "a/b", "-a", "a-", "a--b", ".a", "a b", "a\nb"}) {
    EXPECT_EQ(Bundle::create(roots, {"default", id}, "").status().code(), Code::kInvalidArgument)
        << id;
    EXPECT_EQ(Bundle::create(roots, {id, "c1"}, "").status().code(), Code::kInvalidArgument) << id;
  }
  EXPECT_FALSE(validate_identifier("id", std::string(77, 'a')).ok());
  EXPECT_TRUE(validate_identifier("id", std::string(76, 'a')).ok());
  EXPECT_TRUE(validate_identifier("id", "k8s.io").ok());
  EXPECT_TRUE(validate_identifier("id", "a_b-c.d").ok());
}

TEST_F(BundleTest, DataOfAContainerIsNeverRemoved) {
  const auto bundle = Bundle::create(roots, {"default", "c1"}, "{}");
  ASSERT_TRUE(bundle.ok());
  std::ofstream(bundle->rootfs() + "/precious") << "x";
  EXPECT_EQ(bundle->remove().code(), Code::kFailedPrecondition);
  EXPECT_TRUE(std::filesystem::exists(bundle->rootfs() + "/precious"));
}

TEST_F(BundleTest, MountsBelowAreUndoneAndWhatTheyShowIsKept) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting needs root";
  const auto bundle = Bundle::create(roots, {"default", "c1"}, "{}");
  ASSERT_TRUE(bundle.ok());
  std::filesystem::create_directories(folder / "snapshot/inner");
  std::ofstream(folder / "snapshot/precious") << "x";
  ASSERT_EQ(
      ::mount((folder / "snapshot").c_str(), bundle->rootfs().c_str(), nullptr, MS_BIND, nullptr),
      0);
  const std::string inner = bundle->rootfs() + "/inner";
  ASSERT_EQ(::mount("tmpfs", inner.c_str(), "tmpfs", 0, "size=64k"), 0);
  const Status removed = bundle->remove();
  EXPECT_TRUE(removed.ok()) << removed.to_string();
  EXPECT_FALSE(std::filesystem::exists(bundle->path()));
  EXPECT_TRUE(std::filesystem::exists(folder / "snapshot/precious"));
}

TEST_F(BundleTest, GroupOfAUserNamespaceMayEnter) {
  const std::string spec = R"({"linux":{"gidMappings":[{"containerID":5,"hostID":7,"size":1},
                              {"containerID":0,"hostID":100000,"size":65536}]}})";
  EXPECT_EQ(container_root_group(spec), 100000u);
  EXPECT_EQ(container_root_group("{}"), 0u);
  EXPECT_EQ(container_root_group("gidMappings, but no JSON"), 0u);
  EXPECT_EQ(container_root_group(
                R"({"linux":{"gidMappings":[{"containerID":0,"hostID":"x","size":1}]}})"),
            0u);
  if (::geteuid() != 0) GTEST_SKIP() << "changing a group needs root";
  const auto bundle = Bundle::create(roots, {"default", "c1"}, spec);
  ASSERT_TRUE(bundle.ok()) << bundle.status().to_string();
  struct stat found {};
  ASSERT_EQ(::stat(bundle->path().c_str(), &found), 0);
  EXPECT_EQ(found.st_gid, 100000u);
  EXPECT_EQ(found.st_mode & 07777, 0710u);
}

TEST_F(BundleTest, FilesAreReplacedAsAWholeAndLinksAreNotFollowed) {
  const auto bundle = Bundle::create(roots, {"default", "c1"}, "{}");
  ASSERT_TRUE(bundle->write("address", "one").ok());
  ASSERT_TRUE(bundle->write("address", "two").ok());
  EXPECT_EQ(*bundle->read("address"), "two");
  EXPECT_EQ(bundle->read("none").status().code(), Code::kNotFound);
  std::filesystem::create_symlink("/etc/passwd", bundle->file("link"));
  EXPECT_FALSE(bundle->read("link").ok());
}

TEST(Mounts, AreFoundBelowAFolderOnly) {
  const std::string table =
      "1 0 0:1 / / rw - ext4 x rw\n2 1 0:2 / /a/b rw - tmpfs x rw\n3 2 0:3 / /a/b/c\\040d rw - "
      "tmpfs x rw\n"
      "4 1 0:4 / /a/bc rw - tmpfs x rw\n";
  EXPECT_EQ(mounts_below(table, "/a/b"), (std::vector<std::string>{"/a/b", "/a/b/c d"}));
  EXPECT_TRUE(mounts_below("rubbish\n\n1 2", "/a").empty());
}

TEST(Bootstrap, IsReadInItsThreeForms) {
  auto plain = parse_bootstrap("unix:///run/containerd/s/abc\n");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->version, 2);
  EXPECT_EQ(*plain->socket_path(), "/run/containerd/s/abc");
  auto json = parse_bootstrap(R"({"version":3,"address":"unix:///s","protocol":"ttrpc"})");
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(json->version, 3);
  EXPECT_EQ(json->to_json(), R"({"version":3,"address":"unix:///s","protocol":"ttrpc"})");
  auto message =
      parse_bootstrap(std::string("\x08\x03\x12\x09unix:///s\x1a\x05ttrpc\x22\x01\x00", 23));
  ASSERT_TRUE(message.ok()) << message.status().to_string();
  EXPECT_EQ(message->version, 3);
  EXPECT_EQ(message->address, "unix:///s");
  EXPECT_EQ(message->protocol, "ttrpc");
}

TEST(Bootstrap, RefusesWhatItCannotUse) {
  EXPECT_EQ(parse_bootstrap("").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(parse_bootstrap("panic: oh no").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(parse_bootstrap("{\"version\":3}").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(parse_bootstrap(R"({"version":4,"address":"unix:///s"})").status().code(),
            Code::kUnimplemented);
  EXPECT_EQ(parse_bootstrap(R"({"version":3,"address":"unix:///s","protocol":"grpc"})")
                ->socket_path()
                .status()
                .code(),
            Code::kUnimplemented);
  EXPECT_EQ(
      parse_bootstrap(R"({"version":3,"address":"vsock://3:1024"})")->socket_path().status().code(),
      Code::kUnimplemented);
}

}  // namespace
}  // namespace berth::shim_client
