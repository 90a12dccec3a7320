// Reading files: imports, merging, versions, what the host's own sections may say.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "config/config.h"

namespace berth::config {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class LoadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = fs::temp_directory_path() / "berth-load-test-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::string write(const std::string& name, const std::string& text) {
    const fs::path path = directory_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }

  /// What is wrong with a file of version 3 that has this text: "LINE: text", or the error.
  std::vector<std::string> complaints(const std::string& text) {
    const std::string file = write("complaints.toml", "version = 3\n" + text);
    const auto config = Config::load(file, {});
    if (!config.ok()) return {config.status().message()};
    std::vector<std::string> list;
    for (const Diagnostic& one : config->diagnostics()) {
      EXPECT_EQ(one.file, file) << one.text;
      list.push_back(std::to_string(one.line) + ": " + one.text);
    }
    return list;
  }

  Config load(const std::string& file, const Overrides& overrides = {}) {
    auto config = Config::load(file, overrides);
    EXPECT_TRUE(config.ok()) << config.status().message();
    return std::move(config).value();
  }

  fs::path directory_;
};

TEST_F(LoadTest, EverySectionIsRead) {
  const Config config = load(write("c.toml", R"(version = 2
root = "/r"
state = "/s"
plugin_dir = ["/p", "/q"]
disabled_plugins = ["a.v1.a"]
required_plugins = ["b.v1.b"]
oom_score = -999
[grpc]
address = "/g.sock"
uid = 1
gid = 2
max_recv_message_size = 2048
max_send_message_size = 4096
[ttrpc]
address = "/t.sock"
uid = 3
gid = 4
[debug]
level = "debug"
format = "json"
[metrics]
address = "127.0.0.1:1338"
[timeouts]
"io.containerd.timeout.task.state" = "2s"
[stream_processors."x"]
accepts = ["a"]
returns = "b"
path = "p"
args = ["c"]
env = ["D=e"]
[proxy_plugins.stargz]
type = "snapshot"
address = "/stargz.sock"
platform = "linux/amd64"
capabilities = ["remap-ids"]
exports = { root = "/x" }
)"));
  EXPECT_THAT(config.diagnostics(), IsEmpty());
  const Values& values = config.values();
  EXPECT_EQ(values.root, "/r");
  EXPECT_EQ(values.state, "/s");
  EXPECT_THAT(values.plugin_dirs, ElementsAre("/p", "/q"));
  EXPECT_THAT(values.disabled_plugins, ElementsAre("a.v1.a"));
  EXPECT_THAT(values.required_plugins, ElementsAre("b.v1.b"));
  EXPECT_EQ(values.oom_score, -999);
  EXPECT_EQ(values.grpc.address, "/g.sock");
  EXPECT_EQ(values.grpc.uid, 1U);
  EXPECT_EQ(values.grpc.gid, 2U);
  EXPECT_EQ(values.max_receive_bytes, 2048);
  EXPECT_EQ(values.max_send_bytes, 4096);
  EXPECT_EQ(values.ttrpc.address, "/t.sock");
  EXPECT_EQ(values.ttrpc.uid, 3U);
  EXPECT_EQ(values.ttrpc.gid, 4U);
  EXPECT_EQ(values.log_level, "debug");
  EXPECT_EQ(values.log_format, "json");
  EXPECT_EQ(values.metrics_address, "127.0.0.1:1338");
  ASSERT_THAT(values.proxy_plugins, SizeIs(1));
  EXPECT_EQ(values.proxy_plugins[0].id, "stargz");
  EXPECT_EQ(values.proxy_plugins[0].type, "snapshot");
  EXPECT_EQ(values.proxy_plugins[0].address, "/stargz.sock");
  EXPECT_EQ(values.proxy_plugins[0].platform, "linux/amd64");
  EXPECT_THAT(values.proxy_plugins[0].capabilities, ElementsAre("remap-ids"));
  EXPECT_GT(values.proxy_plugins[0].line, 1U);
}

TEST_F(LoadTest, Version4HasServerPlugins) {
  const Config config = load(write("c.toml", R"(version = 4
[grpc]
address = "/old.sock"
[plugins."io.containerd.server.v1.grpc"]
address = "/new.sock"
uid = 7
max_recv_message_size = 4096
[plugins."io.containerd.server.v1.ttrpc"]
address = "/new.sock.ttrpc"
[plugins."io.containerd.server.v1.metrics"]
address = "127.0.0.1:1"
)"));
  EXPECT_THAT(config.diagnostics(), IsEmpty());
  EXPECT_EQ(config.values().grpc.address, "/new.sock");
  EXPECT_EQ(config.values().grpc.uid, 7U);
  EXPECT_EQ(config.values().max_receive_bytes, 4096);
  EXPECT_EQ(config.values().ttrpc.address, "/new.sock.ttrpc");
  EXPECT_EQ(config.values().metrics_address, "127.0.0.1:1");
  EXPECT_THAT(config.unknown_sections({}), IsEmpty());
  EXPECT_THAT(config.dump({}, true),
              HasSubstr("'/new.sock'  # " + (directory_ / "c.toml").string() + ":5"));
}

TEST_F(LoadTest, AGroupMayBeNamed) {
  // Of every Debian system (base-passwd).
  const Config config = load(write("c.toml", "version = 3\n[grpc]\ngid = 3\ngroup = 'mail'\n"));
  EXPECT_THAT(config.diagnostics(), IsEmpty());
  EXPECT_EQ(config.values().grpc.gid, 8U);
  EXPECT_EQ(config.values().ttrpc.gid, 8U);
  EXPECT_THAT(
      complaints("[grpc]\ngid = 3\ngroup = 'no-such-group'\n"),
      ElementsAre(AllOf(HasSubstr("4: "), HasSubstr("no-such-group"), HasSubstr("groupadd"))));
  const Config other = load(write("d.toml", "version = 3\n[grpc]\ngid = 3\ngroup = 'none-such'\n"));
  EXPECT_EQ(other.values().grpc.gid, 3U);
}

TEST_F(LoadTest, AServerPluginsTcpHasNoEffectAndSaysSo) {
  EXPECT_THAT(
      complaints("[plugins.'io.containerd.server.v1.grpc-tcp']\naddress = '0.0.0.0:1'\n"),
      ElementsAre(AllOf(HasSubstr("3: "), HasSubstr("tcp_address"), HasSubstr("no effect"))));
}

TEST_F(LoadTest, WhatIsWrongNamesItsLineAndFallsBack) {
  EXPECT_THAT(complaints("rooot = 1\n"), ElementsAre("2: unknown key \"rooot\""));
  EXPECT_THAT(complaints("[grpc]\nadress = 'x'\n"),
              ElementsAre("3: unknown key \"adress\" in [grpc]"));
  EXPECT_THAT(complaints("[grcp]\n"), ElementsAre("2: unknown key \"grcp\""));
  EXPECT_THAT(complaints("grpc = 5\n"), ElementsAre("2: [grpc] must be a table"));
  EXPECT_THAT(complaints("plugins = 5\n"), ElementsAre("2: [plugins] must be a table"));
  EXPECT_THAT(complaints("plugin_dir = 5\n"),
              ElementsAre(HasSubstr("a string or a list of strings")));
  EXPECT_THAT(complaints("disabled_plugins = [1]\n"), ElementsAre(HasSubstr("2: ")));
  EXPECT_THAT(complaints("root = 'relative'\n"),
              ElementsAre(HasSubstr("2: \"root\" is \"relative\"")));
  EXPECT_THAT(complaints("[grpc]\nuid = -1\n"), ElementsAre(HasSubstr("3: \"uid\" is -1")));
  EXPECT_THAT(complaints("[grpc]\nuid = 4294967295\n"), ElementsAre(HasSubstr("3: ")))
      << "it would mean \"leave the owner\"";
  EXPECT_THAT(complaints("[grpc]\nmax_recv_message_size = 1\n"),
              ElementsAre(HasSubstr("from 1024")));
  EXPECT_THAT(complaints("[grpc]\ntcp_address = '1.2.3.4:5'\n"),
              ElementsAre(HasSubstr("no effect")));
  EXPECT_THAT(complaints("[grpc]\ntcp_address = ''\n"), IsEmpty());
  EXPECT_THAT(complaints("oom_score = 1979-05-27\n"), ElementsAre(HasSubstr("an integer")));

  const Config config = load(write("c.toml", "version = 3\ngrpc = 5\nroot = 7\n"));
  EXPECT_EQ(config.values().grpc.address, "/run/berth/berth.sock");
  EXPECT_EQ(config.values().ttrpc.address, "/run/berth/berth.sock.ttrpc");
  EXPECT_EQ(config.values().root, "/var/lib/berth");
}

TEST_F(LoadTest, ZeroMessageSizesAreTheDefault) {
  const Config config = load(write(
      "c.toml", "version = 3\n[grpc]\nmax_recv_message_size = 0\nmax_send_message_size = 0\n"));
  EXPECT_THAT(config.diagnostics(), IsEmpty());
  EXPECT_EQ(config.values().max_receive_bytes, 16 << 20);
  EXPECT_EQ(config.values().max_send_bytes, 16 << 20);
}

TEST_F(LoadTest, ShortPluginNamesNameNoPlugin) {
  EXPECT_THAT(complaints("disabled_plugins = ['io.containerd.x.v1.y',\n 'cri']\n"),
              ElementsAre(AllOf(HasSubstr("3: "), HasSubstr("\"cri\""),
                                HasSubstr("\"io.containerd.grpc.v1.cri\""))));
  EXPECT_THAT(complaints("required_plugins = ['cri']\n"),
              ElementsAre(HasSubstr("required_plugins")));
}

TEST_F(LoadTest, OpenSectionsHaveAShape) {
  EXPECT_THAT(complaints("[timeouts]\na = '5'\nb = 5\nc = '5s'\n"), SizeIs(2));
  EXPECT_THAT(complaints("[stream_processors]\nx = 1\n"), ElementsAre(HasSubstr("3: ")));
  EXPECT_THAT(complaints("[stream_processors.x]\npath = 1\ncolour = 'red'\n"), SizeIs(2));
  EXPECT_THAT(complaints("[proxy_plugins.x]\ntype = 'snapshot'\n"),
              ElementsAre(AllOf(HasSubstr("2: "), HasSubstr("has no \"address\""))));
  EXPECT_THAT(
      complaints("[proxy_plugins.x]\ntype = 'snapshot'\naddress = '/x'\nport = 1\nplatform = 2\n"),
      ElementsAre(HasSubstr("\"platform\""), HasSubstr("\"port\"")));
  EXPECT_THAT(complaints("[proxy_plugins]\nx = 1\n"), ElementsAre(HasSubstr("must be a table")));
}

TEST_F(LoadTest, VersionsThatAreNotRead) {
  for (const char* text :
       {"", "version = 1\n", "version = 0\n", "version = 5\n", "version = -3\n"}) {
    const auto config = Config::load(write("c.toml", text), {});
    ASSERT_TRUE(config.ok());
    ASSERT_THAT(config->diagnostics(), SizeIs(1)) << text;
    EXPECT_EQ(config->diagnostics()[0].line, 1U);
    EXPECT_THAT(config->diagnostics()[0].text, AllOf(HasSubstr("2, 3"), HasSubstr("4")));
  }
}

TEST_F(LoadTest, ImportsAreRelativeGlobsInLexicalOrderThatOverride) {
  write("d/20.toml", "version = 2\nroot = '/20'\n[debug]\nformat = 'json'\n");
  write("d/10.toml", "version = 2\nroot = '/10'\n[debug]\nlevel = 'warn'\n");
  write("d/30.txt", "not TOML at all");
  const Config config = load(write("c.toml", "version = 3\nroot = '/0'\nimports = ['d/*.toml']\n"));
  EXPECT_THAT(config.diagnostics(), IsEmpty());
  EXPECT_EQ(config.values().root, "/20");
  EXPECT_EQ(config.values().log_level, "warn");
  EXPECT_EQ(config.values().log_format, "json");
  const std::string dump = config.dump({}, true);
  EXPECT_THAT(dump, HasSubstr("root = '/20'  # " + (directory_ / "d/20.toml").string() + ":2"));
  EXPECT_THAT(dump, HasSubstr("version = 3  # " + (directory_ / "c.toml").string() + ":1"))
      << "an import's version is how the import is written";
}

TEST_F(LoadTest, ImportsOfImportsAndListsThatAppendOnce) {
  write("a/b/c.toml", "version = 2\ndisabled_plugins = ['t.c', 't.a']\n");
  write("a/b.toml", "version = 2\nimports = ['b/c.toml']\ndisabled_plugins = ['t.b']\n");
  const Config config =
      load(write("c.toml", "version = 3\ndisabled_plugins = ['t.a']\nimports = ['a/b.toml']\n"));
  EXPECT_THAT(config.values().disabled_plugins, ElementsAre("t.a", "t.b", "t.c"));
}

TEST_F(LoadTest, OtherListsAreReplaced) {
  write("i.toml", "version = 3\nplugin_dir = ['/b']\n");
  const Config config =
      load(write("c.toml", "version = 3\nplugin_dir = ['/a']\nimports = ['i.toml']\n"));
  EXPECT_THAT(config.values().plugin_dirs, ElementsAre("/b"));
}

TEST_F(LoadTest, CirclesOfImportsEnd) {
  write("a.toml", "version = 3\nimports = ['b.toml']\nroot = '/a'\n");
  const std::string b = write("b.toml", "version = 3\nimports = ['./a.toml', '*.toml']\n");
  EXPECT_EQ(load(b).values().root, "/a");
}

TEST_F(LoadTest, ImportsNestedTooDeeplyAreRefused) {
  for (int i = 0; i < 40; ++i) {
    write("n" + std::to_string(i) + ".toml",
          "version = 3\nimports = ['n" + std::to_string(i + 1) + ".toml']\n");
  }
  EXPECT_THAT(Config::load(directory_ / "n0.toml", {}).status().message(), HasSubstr("deep"));
}

TEST_F(LoadTest, AnImportThatIsNotThereIsReported) {
  EXPECT_THAT(complaints("imports = ['none.toml', 'none-*.toml']\n"),
              ElementsAre(AllOf(HasSubstr("2: "), HasSubstr("none.toml"))));
  EXPECT_THAT(complaints("imports = [5]\n"), ::testing::Contains(HasSubstr("imports")));
}

TEST_F(LoadTest, ASyntaxErrorInAnImportNamesThatFile) {
  const std::string import = write("i.toml", "version = 3\n= 5\n");
  const std::string file = write("c.toml", "version = 3\nimports = ['i.toml']\n");
  EXPECT_THAT(Config::load(file, {}).status().message(), HasSubstr(import + ":2"));
}

TEST_F(LoadTest, HostileFiles) {
  EXPECT_THAT(Config::load(directory_ / "none.toml", {}).status().message(),
              AllOf(HasSubstr("none.toml"), HasSubstr("No such file")));
  EXPECT_FALSE(Config::load(directory_, {}).ok()) << "a directory";
  const std::string fifo = directory_ / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THAT(Config::load(fifo, {}).status().message(), HasSubstr("regular file"));
  EXPECT_FALSE(Config::load("/dev/zero", {}).ok());
  EXPECT_THAT(Config::load(write("big", std::string(5 << 20, '#')), {}).status().message(),
              HasSubstr("limit"));
  std::string dotted = "a";
  for (int i = 0; i < 100'000; ++i) dotted += ".a";
  EXPECT_THAT(Config::load(write("deep", dotted + " = 1\n"), {}).status().message(),
              HasSubstr(":1: nested more than"));
  EXPECT_FALSE(Config::load(write("nul", std::string("a = 1\0\n", 7)), {}).ok());
  EXPECT_FALSE(Config::load(write("latin1", "a = '\xe9'\n"), {}).ok());
  EXPECT_TRUE(Config::load(write("crlf", "version = 3\r\nroot = '/r'\r\n"), {}).ok());
}

TEST_F(LoadTest, TheCommandLineWinsWhateverItSays) {
  Overrides overrides;
  overrides.root = "/it's \"quoted\" \\ \n";
  overrides.address = "/x.sock";
  const Config config = load(write("c.toml", "version = 3\ngrpc = 1\nroot = 5\n"), overrides);
  EXPECT_EQ(config.values().root, *overrides.root);
  EXPECT_EQ(config.values().grpc.address, "/x.sock");
  EXPECT_EQ(config.values().ttrpc.address, "/x.sock.ttrpc");
}

TEST_F(LoadTest, ContainerdsOwnDefaultsAreRead) {
  // What "containerd config default" prints (1.6), shortened to one of each kind of section.
  const Config config = load(write("c.toml", R"(disabled_plugins = []
imports = []
oom_score = 0
plugin_dir = ""
required_plugins = []
root = "/var/lib/containerd"
state = "/run/containerd"
temp = ""
version = 2

[cgroup]
  path = ""

[debug]
  address = ""
  format = ""
  gid = 0
  level = ""
  uid = 0

[grpc]
  address = "/run/containerd/containerd.sock"
  gid = 0
  max_recv_message_size = 16777216
  max_send_message_size = 16777216
  tcp_address = ""
  tcp_tls_ca = ""
  tcp_tls_cert = ""
  tcp_tls_key = ""
  uid = 0

[metrics]
  address = ""
  grpc_histogram = false

[plugins]

[proxy_plugins]

[stream_processors]

  [stream_processors."io.containerd.ocicrypt.decoder.v1.tar"]
    accepts = ["application/vnd.oci.image.layer.v1.tar+encrypted"]
    args = ["--decryption-keys-path", "/etc/containerd/ocicrypt/keys"]
    env = ["OCICRYPT_KEYPROVIDER_CONFIG=/etc/containerd/ocicrypt/ocicrypt_keyprovider.conf"]
    path = "ctd-decoder"
    returns = "application/vnd.oci.image.layer.v1.tar"

[timeouts]
  "io.containerd.timeout.bolt.open" = "0s"
  "io.containerd.timeout.shim.cleanup" = "5s"

[ttrpc]
  address = ""
  gid = 0
  uid = 0
)"));
  for (const Diagnostic& one : config.diagnostics()) ADD_FAILURE() << one.to_string();
  EXPECT_EQ(config.values().ttrpc.address, "/run/containerd/containerd.sock.ttrpc");
  EXPECT_THAT(config.values().plugin_dirs, ::testing::Not(ElementsAre("")))
      << "an empty plugin_dir is the default one";
}

}  // namespace
}  // namespace berth::config
