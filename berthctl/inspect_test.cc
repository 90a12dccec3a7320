#include "inspect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace berth::ctl {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Inspect : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path().string() + "/berth-inspect.XXXXXX";
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string copy_of(const std::string& plugin) const {
    const std::string file = folder_ + "/" + fs::path(plugin).filename().string();
    fs::copy_file(plugin, file);
    return file;
  }
  static std::string bad(const std::string& name) {
    return std::string(TEST_PLUGINS) + "/bad/" + name + ".so";
  }

  std::string folder_;
};

TEST_F(Inspect, ShowsManifestAndFile) {
  const auto seen = inspect(copy_of(TEST_PLUGINS "/echo-c/echo-c.so"));
  ASSERT_TRUE(seen.ok()) << seen.status().message();
  EXPECT_THAT(seen->problems, IsEmpty());
  EXPECT_THAT(seen->warnings, IsEmpty());
  const std::string text = inspection_text(*seen);
  EXPECT_THAT(text, HasSubstr("ABI           0.1 or a later minor\n"));
  EXPECT_THAT(text, HasSubstr("\nio.containerd.grpc.v1.echo-c 0.1.0\n"));
  EXPECT_THAT(text, HasSubstr("provides      berth.example.echo.v1.Echo\n"));
  EXPECT_THAT(text, HasSubstr("config        prefix = \"\" (string): Put before every text.\n"));

  const auto json = nlohmann::json::parse(inspection_json(*seen));
  EXPECT_EQ(json["plugins"][0]["uri"], "io.containerd.grpc.v1.echo-c");
  EXPECT_EQ(json["plugins"][0]["config"][0]["default"], "");
  EXPECT_EQ(json["exports"][0], "berth_plugin_entry_v0");
  EXPECT_EQ(json["size"], fs::file_size(TEST_PLUGINS "/echo-c/echo-c.so"));
}

TEST_F(Inspect, ShowsRequirements) {
  const auto seen = inspect(copy_of(bad("undecided")));
  ASSERT_TRUE(seen.ok()) << seen.status().message();
  EXPECT_THAT(inspection_text(*seen),
              HasSubstr("requires      store: io.containerd.content.v1.* with berth.test.v1.Store "
                        "(one)\n"));
}

TEST_F(Inspect, AFileThatOthersCanWriteIsAProblem) {
  const std::string file = copy_of(bad("writable"));
  ::chmod(file.c_str(), 0666);
  const auto seen = inspect(file);
  ASSERT_TRUE(seen.ok()) << seen.status().message();
  EXPECT_THAT(seen->problems,
              ElementsAre("load plugin: file " + file +
                          " has mode 0666 and can be written by others: chmod go-w " + file));
  ::chmod(file.c_str(), 0644);
  ::chmod(folder_.c_str(), 0777);
  const auto again = inspect(file);
  ASSERT_TRUE(again.ok());
  EXPECT_THAT(again->problems, Contains(HasSubstr("directory " + folder_ + " has mode 0777")));
}

TEST_F(Inspect, AnotherAbiIsAProblem) {
  const auto major = inspect(copy_of(bad("wrong-major")));
  ASSERT_TRUE(major.ok()) << major.status().message();
  EXPECT_THAT(major->problems,
              Contains(HasSubstr("abi.major is 7, this host has 0: upgrade berth")));
  const auto minor = inspect(copy_of(bad("new-minor")));
  ASSERT_TRUE(minor.ok()) << minor.status().message();
  EXPECT_THAT(minor->problems, Contains(HasSubstr("it needs at least ABI 0.900")));
}

TEST_F(Inspect, RefusesWhatIsNoPlugin) {
  const auto refused = [](const std::string& file) {
    const auto seen = inspect(file);
    EXPECT_FALSE(seen.ok());
    return seen.status().message();
  };
  EXPECT_EQ(refused(folder_ + "/absent.so"),
            "read the manifest of " + folder_ + "/absent.so: No such file or directory");
  EXPECT_THAT(refused(folder_), HasSubstr("it is not a regular file with content"));
  std::ofstream(folder_ + "/text.so") << "not a plugin";
  EXPECT_THAT(refused(folder_ + "/text.so"), HasSubstr("it is not an ELF file"));
  EXPECT_THAT(refused(copy_of(bad("no-manifest"))), HasSubstr("it has no manifest"));
  const std::string misspelt = copy_of(bad("misspelt"));
  EXPECT_EQ(refused(misspelt), misspelt + ":11: unknown key \"clientfacing\"");
}

TEST_F(Inspect, ExportsBesideTheEntryAreAWarning) {
  const auto seen = inspect(copy_of(LEAKY_PLUGIN));
  ASSERT_TRUE(seen.ok()) << seen.status().message();
  EXPECT_THAT(seen->warnings,
              Contains(HasSubstr("it exports 1 symbols beside the entry (leaked)")));
}

}  // namespace
}  // namespace berth::ctl
