#include "config/config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace berth::config {
namespace {

namespace fs = std::filesystem;

class ConfigTest : public ::testing::Test {
 protected:
  ConfigTest() {
    char name[] = "/tmp/berth-config-test-XXXXXX";
    directory_ = ::mkdtemp(name);
  }
  ~ConfigTest() override { fs::remove_all(directory_); }

  std::string write(const std::string& name, const std::string& text) {
    const std::string path = (directory_ / name).string();
    std::ofstream(path) << text;
    return path;
  }

  fs::path directory_;
};

manifest::Plugin content() {
  manifest::Plugin plugin;
  plugin.type = "io.containerd.content.v1";
  plugin.id = "content";
  plugin.aliases = {"old"};
  plugin.config = {{"size", "integer", "5", "A size."}, {"wait", "duration", "\"1s\"", "A time."}};
  return plugin;
}

TEST_F(ConfigTest, DefaultsWithoutAFile) {
  const auto config = Config::load("", {});
  ASSERT_TRUE(config.ok());
  EXPECT_TRUE(config->diagnostics().empty());
  EXPECT_EQ(config->values().root, "/var/lib/berth");
  EXPECT_EQ(config->values().ttrpc.address, config->values().grpc.address + ".ttrpc");
  EXPECT_EQ(config->values().max_receive_bytes, 16 << 20);
}

TEST_F(ConfigTest, ImportsMergeDeeplyInLexicalOrder) {
  write("b.toml", "version = 2\n[plugins.\"io.containerd.content.v1.content\"]\nsize = 8\n");
  write("a.toml",
        "version = 2\ndisabled_plugins = "
        "['t.y']\n[plugins.\"io.containerd.content.v1.content\"]\nsize = 7\nwait = '2s'\n");
  const auto file =
      write("config.toml",
            "version = 3\nroot = '/r'\ndisabled_plugins = ['t.x']\nimports = ['[ab].toml']\n");
  const auto config = Config::load(file, {});
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_TRUE(config->diagnostics().empty());
  EXPECT_EQ(config->values().disabled_plugins, (std::vector<std::string>{"t.x", "t.y"}));
  std::vector<Diagnostic> diagnostics;
  EXPECT_EQ(config->plugin_json(content(), &diagnostics), R"({"size":8,"wait":"2s"})");
  EXPECT_TRUE(diagnostics.empty());
}

TEST_F(ConfigTest, ImportCircleEnds) {
  const auto file = write("config.toml", "version = 3\nimports = ['config.toml']\n");
  EXPECT_TRUE(Config::load(file, {}).ok());
}

TEST_F(ConfigTest, UnknownAndIllTypedKeysHaveFileAndLine) {
  const auto file = write("config.toml",
                          "version = 3\nrooot = '/r'\n[grpc]\naddress = "
                          "5\n[plugins.\"io.containerd.content.v1.old\"]\nsise = 1\n"
                          "wait = 'soon'\n[plugins.\"no.such\"]\n");
  const auto config = Config::load(file, {});
  ASSERT_TRUE(config.ok());
  ASSERT_EQ(config->diagnostics().size(), 2U);
  EXPECT_EQ(config->diagnostics()[0].to_string(),
            file + ":4: key \"address\" in [grpc] must be a string");
  EXPECT_EQ(config->diagnostics()[1].to_string(), file + ":2: unknown key \"rooot\"");
  std::vector<Diagnostic> diagnostics;
  (void)config->plugin_json(content(), &diagnostics);
  ASSERT_EQ(diagnostics.size(), 2U);
  EXPECT_EQ(diagnostics[0].line, 6U);
  EXPECT_NE(diagnostics[1].text.find("is not a duration"), std::string::npos);
  ASSERT_EQ(config->unknown_sections({content()}).size(), 1U);
  EXPECT_EQ(config->unknown_sections({content()})[0].line, 8U);
}

TEST_F(ConfigTest, SyntaxErrorsNameTheLine) {
  const auto file = write("config.toml", "version = 3\nroot = \n");
  const auto config = Config::load(file, {});
  ASSERT_FALSE(config.ok());
  EXPECT_NE(config.status().message().find(file + ":2"), std::string::npos)
      << config.status().message();
}

TEST_F(ConfigTest, OldVersionsAreToldWhatToDo) {
  const auto file = write("config.toml", "version = 1\n");
  const auto config = Config::load(file, {});
  ASSERT_TRUE(config.ok());
  ASSERT_EQ(config->diagnostics().size(), 1U);
  EXPECT_NE(config->diagnostics()[0].text.find("use 2, 3 or 4"), std::string::npos);
}

TEST_F(ConfigTest, DefaultTextLoadsWithoutDiagnostics) {
  const auto file = write("config.toml", default_text({content()}));
  const auto config = Config::load(file, {});
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_TRUE(config->diagnostics().empty()) << config->diagnostics()[0].to_string();
  std::vector<Diagnostic> diagnostics;
  EXPECT_EQ(config->plugin_json(content(), &diagnostics), R"({"size":5,"wait":"1s"})");
  EXPECT_TRUE(diagnostics.empty());
}

TEST_F(ConfigTest, DumpTellsOrigins) {
  const auto file = write("config.toml", "version = 3\n[debug]\nlevel = 'warn'\n");
  Overrides overrides;
  overrides.root = "/elsewhere";
  const auto config = Config::load(file, overrides);
  ASSERT_TRUE(config.ok());
  const std::string dump = config->dump({content()}, true);
  EXPECT_NE(dump.find("/elsewhere'  # command line"), std::string::npos) << dump;
  EXPECT_NE(dump.find("level = 'warn'  # " + file + ":3"), std::string::npos) << dump;
  EXPECT_NE(dump.find("size = 5  # default"), std::string::npos) << dump;
}

}  // namespace
}  // namespace berth::config
