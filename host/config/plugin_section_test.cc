// Sections of plugins against their manifests, and what is printed of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "config/config.h"

namespace berth::config {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

manifest::Plugin store() {
  manifest::Plugin plugin;
  plugin.type = "s.v1";
  plugin.id = "store";
  plugin.aliases = {"bolt"};
  plugin.config = {{"path", "string", "\"it's \\\"here\\\"\\n\\u00e9\"", "Where."},
                   {"count", "integer", "-9223372036854775808", "How many."},
                   {"ratio", "float", "2.0", "How much."},
                   {"tiny", "float", "1e-300", "How little."},
                   {"on", "boolean", "true", "Whether."},
                   {"wait", "duration", "\"1m30s\"", "How long."},
                   {"list", "list", R"(["a",["b",1],{"c":true}])", "Which."},
                   {"table", "table", R"({"odd key'\n":{"x":[1.5]},"empty":{}})", "What."}};
  manifest::Requirement need;
  need.name = "content";
  need.type = "c.v1";
  plugin.requires_ = {need};
  return plugin;
}

class SectionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = fs::temp_directory_path() / "berth-section-test-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { fs::remove_all(directory_); }

  Config load(const std::string& text, const std::string& name = "c.toml") {
    std::ofstream(directory_ / name, std::ios::binary) << text;
    auto config = Config::load(directory_ / name, {});
    EXPECT_TRUE(config.ok()) << config.status().message() << "\n" << text;
    return std::move(config).value();
  }

  /// "LINE: text" of what is wrong with the section of store().
  std::vector<std::string> complaints(const std::string& section) {
    const Config config = load("version = 3\n[plugins.'s.v1.store']\n" + section);
    std::vector<Diagnostic> diagnostics;
    (void)config.plugin_json(store(), &diagnostics);
    std::vector<std::string> list;
    for (const Diagnostic& one : diagnostics) {
      list.push_back(std::to_string(one.line) + ": " + one.text);
    }
    return list;
  }

  nlohmann::json effective(const Config& config) {
    std::vector<Diagnostic> diagnostics;
    return nlohmann::json::parse(config.plugin_json(store(), &diagnostics));
  }

  fs::path directory_;
};

TEST_F(SectionTest, DefaultsAreFilledIn) {
  const auto json = effective(load("version = 3\n"));
  EXPECT_EQ(json["path"], "it's \"here\"\n\u00e9");
  EXPECT_EQ(json["count"], INT64_MIN);
  EXPECT_EQ(json["table"]["odd key'\n"]["x"][0], 1.5);
  EXPECT_EQ(json.size(), 8U);
}

TEST_F(SectionTest, ValuesOfTheSectionWin) {
  const auto json = effective(
      load("version = 3\n[plugins.'s.v1.store']\npath = '/p'\ncount = 3\nratio = 1\nwait = '0'\n"
           "list = []\n[plugins.'s.v1.store'.table]\na = 1\n"));
  EXPECT_EQ(json["path"], "/p");
  EXPECT_EQ(json["count"], 3);
  EXPECT_EQ(json["ratio"], 1);
  EXPECT_EQ(json["wait"], "0");
  EXPECT_EQ(json["list"], nlohmann::json::array());
  EXPECT_EQ(json["table"], nlohmann::json({{"a", 1}}));
  EXPECT_EQ(json["on"], true);
}

TEST_F(SectionTest, WhatIsWrongNamesItsLineAndFallsBack) {
  EXPECT_THAT(complaints("count = '3'\n"),
              ElementsAre(AllOf(HasSubstr("3: "), HasSubstr("\"count\""), HasSubstr("integer"))));
  EXPECT_THAT(complaints("count = 3.0\n"), SizeIs(1));
  EXPECT_THAT(complaints("on = 1\n"), SizeIs(1));
  EXPECT_THAT(complaints("path = 1\n"), SizeIs(1));
  EXPECT_THAT(complaints("list = 'a'\n"), SizeIs(1));
  EXPECT_THAT(complaints("table = []\n"), SizeIs(1));
  EXPECT_THAT(complaints("wait = 5\n"), SizeIs(1));
  EXPECT_THAT(complaints("wait = '5 s'\n"), ElementsAre(HasSubstr("\"5 s\" is not a duration")));
  EXPECT_THAT(complaints("ratio = nan\n"), ElementsAre(HasSubstr("not finite")));
  EXPECT_THAT(complaints("list = [1979-05-27]\n"), ElementsAre(HasSubstr("a date")));
  EXPECT_THAT(complaints("paht = 'x'\ncolour = 1\n"), SizeIs(2));
  const Config config = load("version = 3\n[plugins.'s.v1.store']\nratio = inf\ncount = '1'\n");
  EXPECT_EQ(effective(config)["ratio"], 2.0);
  EXPECT_EQ(effective(config)["count"], INT64_MIN);
}

TEST_F(SectionTest, ReservedKeysAndChoices) {
  EXPECT_THAT(complaints("placement = 'host'\ncontent = 'two'\n"), IsEmpty());
  EXPECT_THAT(complaints("placement = 'process'\n"), IsEmpty());
  EXPECT_THAT(complaints("placement = 'elsewhere'\n"),
              ElementsAre(HasSubstr("must be \"host\" or \"process\"")));
  EXPECT_THAT(complaints("content = 5\n"),
              ElementsAre(AllOf(HasSubstr("\"content\""), HasSubstr("string"))));
  const Config config = load("version = 3\n[plugins.'s.v1.store']\ncontent = 'two'\n");
  EXPECT_EQ(config.choice(store(), "content"), "two");
  EXPECT_EQ(config.choice(store(), "other"), "");
  EXPECT_FALSE(effective(config).contains("content")) << "the host's, not the plugin's";
}

TEST_F(SectionTest, PlacementInAProcess) {
  const std::string head = "version = 3\n[plugins.'s.v1.store']\n";
  const Placement by_default = load(head).placement(store());
  EXPECT_FALSE(by_default.process);
  const Config config = load(head +
                             "placement = 'process'\nprocess = {memory_max = 1048576, "
                             "hang_timeout = '2s', start_timeout = '1m'}\n");
  const Placement placed = config.placement(store());
  EXPECT_TRUE(placed.process);
  EXPECT_EQ(placed.memory_max, 1048576U);
  EXPECT_EQ(placed.hang_timeout, std::chrono::seconds(2));
  EXPECT_EQ(placed.start_timeout, std::chrono::minutes(1));
  EXPECT_FALSE(effective(config).contains("process")) << "the host's, not the plugin's";
  const std::string process = "placement = 'process'\n";
  EXPECT_THAT(complaints(process + "process = 1\n"), ElementsAre(HasSubstr("must be a table")));
  EXPECT_THAT(complaints(process + "process = {memory_max = -1}\n"),
              ElementsAre(HasSubstr("number of bytes")));
  EXPECT_THAT(complaints(process + "process = {hang_timeout = '0s'}\n"),
              ElementsAre(HasSubstr("duration above zero")));
  EXPECT_THAT(complaints(process + "process = {memory = 1}\n"),
              ElementsAre(HasSubstr("unknown key \"process.memory\"")));
  EXPECT_THAT(complaints("process = {memory_max = 1}\n"), ElementsAre(HasSubstr("no effect")));
}

TEST_F(SectionTest, AnAliasIsThePluginsSection) {
  const Config config = load("version = 2\n[plugins.'s.v1.bolt']\ncount = 4\ncontent = 'x'\n");
  EXPECT_EQ(effective(config)["count"], 4);
  EXPECT_EQ(config.choice(store(), "content"), "x");
  EXPECT_THAT(config.unknown_sections({store()}), IsEmpty());
}

TEST_F(SectionTest, ASectionThatAnotherHidesIsReported) {
  const Config config =
      load("version = 2\n[plugins.'s.v1.bolt']\ncount = 4\n[plugins.'s.v1.store']\ncount = 5\n");
  EXPECT_EQ(effective(config)["count"], 5);
  const auto unknown = config.unknown_sections({store()});
  ASSERT_THAT(unknown, SizeIs(1));
  EXPECT_EQ(unknown[0].line, 2U);
  EXPECT_THAT(unknown[0].text, HasSubstr("no effect"));
}

TEST_F(SectionTest, SectionsOfNoPlugin) {
  const auto texts = [&](const std::string& text) {
    std::vector<std::string> list;
    const Config config = load("version = 3\n" + text);
    for (const auto& one : config.unknown_sections({store()})) list.push_back(one.text);
    return list;
  };
  EXPECT_THAT(texts("[plugins.'s.v1.store']\n"), IsEmpty());
  EXPECT_THAT(texts("[plugins.cri]\nx = 1\n"), ElementsAre(HasSubstr("no installed plugin")));
  EXPECT_THAT(texts("[plugins.io.containerd.x.v1.y]\nz = 1\n"),
              ElementsAre(HasSubstr("in quotes")));
  EXPECT_THAT(texts("[plugins]\n's.v1.store' = 5\n"), ElementsAre(HasSubstr("must be a table")));
}

TEST_F(SectionTest, WhatDefaultPrintsLoadsWithoutADiagnosticAndMeansTheSame) {
  const std::string text = default_text({store()});
  EXPECT_THAT(text, HasSubstr("# How many."));
  const Config config = load(text);
  for (const Diagnostic& one : config.diagnostics()) ADD_FAILURE() << one.to_string();
  std::vector<Diagnostic> diagnostics;
  const std::string json = config.plugin_json(store(), &diagnostics);
  EXPECT_THAT(diagnostics, IsEmpty());
  EXPECT_EQ(nlohmann::json::parse(json), effective(load("version = 3\n", "empty.toml")));
  EXPECT_THAT(config.unknown_sections({store()}), IsEmpty());
}

TEST_F(SectionTest, ADumpLoadsAgainAndMeansTheSame) {
  std::ofstream(directory_ / "i.toml") << "version = 3\nroot = '/imported'\n";
  const Config config = load(R"(version = 2
root = "/r"
imports = ["i.toml"]
disabled_plugins = ["t.v1.x"]
[ttrpc]
uid = 5
[timeouts]
"a.b" = "5s"
[proxy_plugins."a b"]
type = "snapshot"
address = "/x"
exports = { root = "/y" }
[stream_processors.p]
accepts = ["m"]
[plugins."s.v1.store"]
path = "a'b\"c\\d\t\u007f"
count = "wrong"
content = "two"
[plugins."unknown.v1.x"]
a = { b = [1] }
)");
  for (const bool origin : {false, true}) {
    const std::string text = config.dump({store()}, origin);
    const Config again = load(text, "again.toml");
    for (const Diagnostic& one : again.diagnostics()) ADD_FAILURE() << one.to_string();
    EXPECT_EQ(again.dump({store()}, false), config.dump({store()}, false));
    EXPECT_EQ(effective(again), effective(config));
    EXPECT_EQ(again.values().root, "/imported");
    EXPECT_EQ(again.values().ttrpc.address, config.values().ttrpc.address);
    EXPECT_EQ(again.choice(store(), "content"), "two");
    ASSERT_THAT(again.values().proxy_plugins, SizeIs(1));
    EXPECT_EQ(again.values().proxy_plugins[0].id, "a b");
  }
}

TEST_F(SectionTest, ADumpShowsWhatIsInForce) {
  const Config config =
      load("version = 3\n[grpc]\naddress = '/a.sock'\n[plugins.'s.v1.store']\ncount = 'no'\n");
  const std::string dump = config.dump({store()}, true);
  EXPECT_THAT(dump, HasSubstr("address = '/a.sock.ttrpc'  # default"));
  EXPECT_THAT(dump, HasSubstr("count = -9223372036854775808  # default"))
      << "a value that was refused is not in force";
  EXPECT_THAT(dump, HasSubstr("address = '/a.sock'  # " + (directory_ / "c.toml").string() + ":3"));
}

}  // namespace
}  // namespace berth::config
