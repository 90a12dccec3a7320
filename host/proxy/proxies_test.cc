// [proxy_plugins] of a configuration: what becomes a node of the graph, and what is refused.
#include "proxy/proxies.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace berth::proxy {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Proxies : public ::testing::Test {
 protected:
  Proxies() : file_(std::filesystem::temp_directory_path().string() + "/berth-proxies.XXXXXX") {
    const int fd = ::mkstemp(file_.data());
    EXPECT_GE(fd, 0);
    ::close(fd);
  }
  ~Proxies() override { std::filesystem::remove(file_); }

  std::vector<lifecycle::Builtin> make(const std::string& text) {
    std::ofstream(file_) << "version = 3\n" << text;
    auto config = config::Config::load(file_, {});
    EXPECT_TRUE(config.ok()) << config.status().message();
    for (const config::Diagnostic& one : config->diagnostics()) said_.push_back(one.to_string());
    std::vector<config::Diagnostic> diagnostics;
    auto made = make_proxies(*config, "1.2.3", &diagnostics);
    for (const config::Diagnostic& one : diagnostics) said_.push_back(one.to_string());
    static auto* targets = new std::vector<bus::Target*>;  // they live for ever, and are no leak
    for (const auto& one : made) targets->push_back(one.target);
    return made;
  }

  std::string file_;
  std::vector<std::string> said_;
};

TEST_F(Proxies, EachTypeServesItsService) {
  const auto made = make(R"(
[proxy_plugins.far]
type = "snapshot"
address = "/run/far.sock"
platform = "linux/arm64"
[proxy_plugins.far.exports]
root = "/far"
[proxy_plugins.blobs]
type = "content"
address = "unix:///run/blobs.sock"
capabilities = ["resume"]
[proxy_plugins.differ]
type = "diff"
address = "/run/differ.sock"
)");
  std::map<std::string, const lifecycle::Builtin*> by_uri;
  for (const auto& one : made) by_uri[one.plugin.uri()] = &one;
  ASSERT_EQ(by_uri.size(), 3U);
  const auto services = [&](const std::string& uri) { return by_uri.at(uri)->plugin.provides; };
  EXPECT_THAT(services("io.containerd.snapshotter.v1.far"),
              ElementsAre("containerd.services.snapshots.v1.Snapshots"));
  EXPECT_THAT(services("io.containerd.content.v1.blobs"),
              ElementsAre("containerd.services.content.v1.Content"));
  EXPECT_THAT(services("io.containerd.differ.v1.differ"),
              ElementsAre("containerd.services.diff.v1.Diff"));
  const lifecycle::Builtin& far = *by_uri.at("io.containerd.snapshotter.v1.far");
  EXPECT_TRUE(far.replaces) << "it stands for a plugin of that name";
  EXPECT_THAT(far.plugin.platforms, ElementsAre("linux/arm64"));
  EXPECT_THAT(by_uri.at("io.containerd.content.v1.blobs")->plugin.capabilities,
              ElementsAre("resume"));
  for (const auto& [uri, one] : by_uri) {
    ASSERT_NE(one->target, nullptr);
    EXPECT_EQ(one->target->identity().uri, uri);
    EXPECT_TRUE(one->target->is_ready());
    EXPECT_EQ(one->plugin.version.text(), "1.2.3");
  }
  EXPECT_NE(by_uri.at("io.containerd.content.v1.blobs")
                ->target->resolve("containerd.services.content.v1.Content/Write"),
            BERTH_NO_METHOD);
}

TEST_F(Proxies, NoneAreNone) {
  EXPECT_THAT(make(""), IsEmpty());
  EXPECT_THAT(said_, IsEmpty());
}

TEST_F(Proxies, WhatCannotBeIsLeftOutWithFileAndLine) {
  const auto made = make(R"([proxy_plugins.odd]
type = "sandbox"
address = "/run/odd.sock"
[proxy_plugins.near]
type = "snapshot"
address = "near.sock"
[proxy_plugins."with blanks"]
type = "snapshot"
address = "/run/x.sock"
[proxy_plugins.good]
type = "snapshot"
address = "/run/good.sock"
)");
  ASSERT_EQ(made.size(), 1U);
  EXPECT_EQ(made[0].plugin.id, "good");
  const auto said = [](int line, const char* id, const char* why) {
    return AllOf(HasSubstr(":" + std::to_string(line) + ": [proxy_plugins." + id + "] "),
                 HasSubstr(why));
  };
  EXPECT_THAT(said_, ::testing::UnorderedElementsAre(
                         said(2, "odd", "type \"sandbox\"; known are snapshot, content, diff"),
                         said(5, "near", "only absolute paths of unix sockets"),
                         said(8, "with blanks", "is no name of a plugin")));
}

TEST_F(Proxies, OneWithoutTypeOrAddressIsReportedOnce) {
  EXPECT_THAT(make("[proxy_plugins.half]\ntype = \"snapshot\"\n"), IsEmpty());
  EXPECT_EQ(said_.size(), 1U) << ::testing::PrintToString(said_);
}

}  // namespace
}  // namespace berth::proxy
