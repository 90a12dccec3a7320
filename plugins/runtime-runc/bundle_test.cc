#include "bundle.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "bootstrap.h"
#include "mounts.h"
#include "process_record.h"
#include "settings.h"
#include "testing.h"

namespace berth::runtime {
namespace {

class BundleTest : public testing::Test {
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

TEST(Settings, DurationsAreGos) {
  using namespace std::chrono_literals;
  EXPECT_EQ(*parse_duration("150ms"), 150ms);
  EXPECT_EQ(*parse_duration("1.5s"), 1500ms);
  EXPECT_EQ(*parse_duration("2h45m"), 2h + 45min);
  EXPECT_EQ(*parse_duration("0"), 0ms);
  for (const char* wrong : {"", "5", "s", "5 s", "-1s", "1d", "1e3s"})
    EXPECT_FALSE(parse_duration(wrong).ok()) << wrong;
}

TEST(ProcessRecord, TellsWhatIsLeftToTell) {
  const ProcessRecord record = parse_record(
      "started . 10\nstarted e1 11\nended e1 7 100 5\ntold e1\nstarted e2 12\n"
      "ended . 3 200 0\nsomething new 1\nended nobody 1 1 1\nstarted bad x\ntold .");
  ASSERT_EQ(record.processes.size(), 3u);
  const auto& first = record.processes.at("");
  EXPECT_EQ(first.pid, 10u);
  ASSERT_TRUE(first.end.has_value());
  EXPECT_EQ(first.end->status, 3u);
  EXPECT_EQ(first.end->seconds, 200);
  EXPECT_FALSE(first.told) << "a line without its end does not count";
  EXPECT_TRUE(record.processes.at("e1").told);
  EXPECT_EQ(record.processes.at("e1").end->nanos, 5);
  EXPECT_FALSE(record.processes.at("e2").end.has_value());
  EXPECT_FALSE(record.deleted);
  // An exec's id may be used again.
  const ProcessRecord again =
      parse_record("started e 1\nended e 1 1 1\ntold e\nstarted e 2\ndeleted\n");
  EXPECT_EQ(again.processes.at("e").pid, 2u);
  EXPECT_FALSE(again.processes.at("e").told);
  EXPECT_TRUE(again.deleted);
}

TEST_F(BundleTest, WhatIsToldInThePlaceOfADeadShimIsNoted) {
  const auto bundle = Bundle::create({folder / "state", folder / "root"}, {"ns", "c"}, "{}");
  ASSERT_TRUE(bundle.ok());
  EXPECT_FALSE(read_record(*bundle).has_value());
  ASSERT_TRUE(bundle->write("processes", "started . 10\nstarted e1 11\n").ok());
  ASSERT_TRUE(note_told(*bundle, "").ok());
  ASSERT_TRUE(note_told(*bundle, "", true).ok());
  const auto record = read_record(*bundle);
  ASSERT_TRUE(record.has_value());
  EXPECT_TRUE(record->processes.at("").told);
  EXPECT_FALSE(record->processes.at("e1").told);
  EXPECT_TRUE(record->deleted);
}

TEST(Settings, AreReadFromTheConfiguration) {
  const std::map<std::string, std::string, std::less<>> config = {
      {"shim_path", R"(["/opt/shims"])"},
      {"env", R"(["A=b"])"},
      {"sched_core", "true"},
      {"state_timeout", "5s"}};
  const auto get = [](const auto& map) {
    return [&map](std::string_view key) -> std::string_view {
      const auto found = map.find(key);
      return found == map.end() ? std::string_view() : std::string_view(found->second);
    };
  };
  const std::map<std::string, std::string, std::less<>> properties = {{"state", "/run/x"},
                                                                      {"root", "/var/x"}};
  const auto settings = read_settings(get(config), get(properties));
  ASSERT_TRUE(settings.ok()) << settings.status().to_string();
  EXPECT_EQ(settings->roots.state, "/run/x");
  EXPECT_EQ(settings->launcher.shim_path, std::vector<std::string>{"/opt/shims"});
  EXPECT_EQ(settings->launcher.environment, (std::vector<std::string>{"A=b", "SCHED_CORE=1"}));
  EXPECT_EQ(settings->timeouts.state, std::chrono::seconds(5));
  const std::map<std::string, std::string, std::less<>> broken = {{"start_timeout", "soon"}};
  EXPECT_NE(read_settings(get(broken), get(properties)).status().message().find("start_timeout"),
            std::string::npos);
}

}  // namespace
}  // namespace berth::runtime
