// What the author of a wrong plugin is told, word for word, in the three places where it is told:
// the log of a daemon that serves all the same, the log and the exit of one with --strict, and
// `berthd config check`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <link.h>
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "containerd/services/version/v1/version.pb.h"
#include "daemon_process.h"
#include "rpc_client.h"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;

constexpr const char* kJsonLog = "[debug]\nformat = \"json\"\n";

struct Fault {
  std::string name;
  std::vector<std::string> files;     // of BAD_PLUGINS, copied to the plugin directory
  std::vector<std::string> messages;  // {dir} is that directory
  /// A fault of the entry's code shows only when it runs; `config check` runs none.
  bool seen_by_check = true;
  /// A service that is missing because of it, and what its clients are told.
  std::string service = {};
  std::string told = {};
  void (*prepare)(const std::string& dir) = nullptr;
};

void PrintTo(const Fault& fault, std::ostream* out) { *out << fault.name; }

std::string with_dir(std::string text, const std::string& dir) {
  for (size_t at = 0; (at = text.find("{dir}", at)) != std::string::npos; at += dir.size()) {
    text.replace(at, 5, dir);
  }
  return text;
}

/// The texts of a log in JSON; lines that are not JSON as they are.
std::vector<std::string> messages_of(const std::string& log) {
  std::vector<std::string> messages;
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    const auto parsed = nlohmann::json::parse(line, nullptr, false);
    messages.push_back(parsed.is_object() ? parsed.value("msg", "") : line);
  }
  return messages;
}

/// The name of the libprotobuf of this program, which is that of berthd.
std::string host_protobuf() {
  std::string name;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* to) {
        const std::string file = fs::path(info->dlpi_name).filename();
        if (file.starts_with("libprotobuf.so")) *static_cast<std::string*>(to) = file;
        return 0;
      },
      &name);
  return name;
}

/// A plugin directory with the named bad plugins.
class PluginFolder {
 public:
  explicit PluginFolder(const std::vector<std::string>& files) : folder_("bad") {
    for (const std::string& file : files) {
      fs::copy_file(std::string(BAD_PLUGINS) + "/" + file + ".so", path() + "/" + file + ".so");
    }
  }
  const std::string& path() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
};

class BadPlugin : public ::testing::TestWithParam<Fault> {
 protected:
  BadPlugin() : plugins_(GetParam().files) {
    if (GetParam().prepare != nullptr) GetParam().prepare(plugins_.path());
  }
  void expect_messages(const std::string& log) const {
    for (const std::string& message : GetParam().messages) {
      EXPECT_THAT(messages_of(log), Contains(with_dir(message, plugins_.path())));
    }
  }
  PluginFolder plugins_;
};

TEST_P(BadPlugin, IsReportedAndTheDaemonServesWithoutIt) {
  DaemonProcess daemon(plugins_.path(), {}, kJsonLog);
  ASSERT_TRUE(daemon.wait_until_serving()) << daemon.log();
  expect_messages(daemon.log());
  RpcClient client(daemon.address());
  containerd::services::version::v1::VersionResponse version;
  EXPECT_TRUE(client
                  .unary("/containerd.services.version.v1.Version/Version",
                         google::protobuf::Empty(), &version)
                  .ok());
  if (!GetParam().service.empty()) {
    std::vector<std::string> responses;
    const auto status = client.call("/" + GetParam().service + "/Do", std::string(), &responses);
    EXPECT_EQ(status.code(), Code::kUnimplemented);
    EXPECT_EQ(status.message(), with_dir(GetParam().told, plugins_.path()) + ": not implemented");
  }
  daemon.process().kill(SIGTERM);
  EXPECT_EQ(daemon.process().wait(15'000).exit_code, 0) << daemon.log();
}

TEST_P(BadPlugin, EndsADaemonThatIsStrict) {
  DaemonProcess daemon(plugins_.path(), {"--strict"}, kJsonLog);
  EXPECT_FALSE(daemon.wait_until_serving());
  const Ending ending = daemon.process().wait(20'000);
  EXPECT_TRUE(ending.ended);
  EXPECT_EQ(ending.exit_code, 1) << daemon.log();
  expect_messages(daemon.log());
  EXPECT_THAT(daemon.log(), HasSubstr("berthd: start with --strict: "));
}

TEST_P(BadPlugin, IsReportedByConfigCheckAsFarAsNoCodeRuns) {
  const TemporaryFolder folder("check");
  Process check({berthd_program(), "config", "check", "--plugin-dir", plugins_.path(), "--root",
                 folder.path() + "/root"},
                folder.path() + "/output");
  const Ending ending = check.wait(20'000);
  if (GetParam().seen_by_check) {
    EXPECT_EQ(ending.exit_code, 1) << check.output();
    expect_messages(check.output());
  } else {
    EXPECT_EQ(ending.exit_code, 0) << check.output();
    EXPECT_EQ(check.output(), "");
  }
  EXPECT_FALSE(fs::exists(folder.path() + "/root")) << "check made something";
}

const Fault kFaults[] = {
    // A word too many in --plugin-dir, and the daemon would have no plugins.
    {"NoDirectory",
     {},
     {"plugin directory {dir} is not there: make it, or correct plugin_dir or --plugin-dir"},
     true,
     {},
     {},
     [](const std::string& dir) { fs::remove(dir); }},
    {"WrongAbiMajor",
     {"wrong-major"},
     {"load plugin {dir}/wrong-major.so: abi.major is 7, this host has 0: upgrade berth"},
     true,
     "berth.test.v1.wrong_major",
     "unknown service berth.test.v1.wrong_major: plugin io.containerd.grpc.v1.wrong-major does not "
     "run: "
     "load plugin {dir}/wrong-major.so: abi.major is 7, this host has 0: upgrade berth"},
    {"TooNewAbiMinor",
     {"new-minor"},
     {"load plugin {dir}/new-minor.so: abi.minor: it needs at least ABI 0.900, this host has 0.1: "
      "upgrade berth"}},
    {"EntryOfAnotherAbi",
     {"lying-major"},
     {"io.containerd.grpc.v1.lying-major failed: load plugin {dir}/lying-major.so: abi.major is 7, "
      "this host has 0: "
      "upgrade berth"},
     false},
    {"NoManifest",
     {"no-manifest"},
     {"read the manifest of {dir}/no-manifest.so: it has no manifest (an ELF note named Berth); "
      "build it with "
      "berth_add_plugin"}},
    {"CutOff",
     {"store-a"},
     {"read the manifest of {dir}/store-a.so: it is cut off: it has 6000 bytes and a segment "
      "beyond "
      "them; copy or install it again"},
     true,
     {},
     {},
     [](const std::string& dir) { fs::resize_file(dir + "/store-a.so", 6000); }},
    {"UnknownKeyInManifest", {"misspelt"}, {"{dir}/misspelt.so:11: unknown key \"clientfacing\""}},
    {"OtherMessages",
     {"other-messages"},
     {"io.containerd.grpc.v1.other-messages failed: load plugin {dir}/other-messages.so: "
      "{dir}/other-messages.so: undefined symbol: berth_api_messages_0123456789abcdef: it was "
      "built "
      "with other messages of the API than this host has; install the release of it that belongs "
      "to this berth, or rebuild it"},
     false},
    {"OtherProtobuf",
     {"other-protobuf"},
     {"io.containerd.grpc.v1.other-protobuf failed: load plugin {dir}/other-protobuf.so: it needs "
      "libprotobuf-lite.so.99, and this host runs with " +
      host_protobuf() +
      ", whose symbols have the same names: install the release of it that was built for this "
      "distribution, or rebuild it"},
     false},
    {"EntryServesAnotherService",
     {"other-service"},
     {"io.containerd.grpc.v1.other-service failed: load plugin {dir}/other-service.so: "
      "io.containerd.grpc.v1.other-service serves berth.test.v1.another, its manifest says "
      "berth.test.v1.other_service; rebuild it with its own plugin.toml"},
     false},
    {"EntryHasAnotherId",
     {"other-id"},
     {"io.containerd.grpc.v1.other-id failed: load plugin {dir}/other-id.so: the entry has "
      "io.containerd.grpc.v1.somebody-else, the manifest does not; rebuild it with its own "
      "plugin.toml"},
     false},
    {"ThrowsInInit",
     {"throws-in-init"},
     {"io.containerd.grpc.v1.throws-in-init failed in init: exception: the cupboard is bare"},
     false,
     "berth.test.v1.throws_in_init",
     "unknown service berth.test.v1.throws_in_init: plugin io.containerd.grpc.v1.throws-in-init "
     "does not run: "
     "exception: the cupboard is bare"},
    {"Circle",
     {"circle-a", "circle-b"},
     {"plugins need one another in a circle: io.containerd.grpc.v1.circle-a ({dir}/circle-a.so) -> "
      "io.containerd.grpc.v1.circle-b ({dir}/circle-b.so) -> io.containerd.grpc.v1.circle-a; name "
      "one of them in "
      "disabled_plugins, or ask their vendors"}},
    {"MissingRequirement",
     {"lonely"},
     {"io.containerd.grpc.v1.lonely ({dir}/lonely.so) needs io.containerd.content.v1.* with "
      "service "
      "berth.test.v1.Nowhere as \"peer\" and there is none: install a plugin that provides it, or "
      "name "
      "io.containerd.grpc.v1.lonely in disabled_plugins"}},
    {"AmbiguousRequirement",
     {"undecided", "store-a", "store-b"},
     {"io.containerd.grpc.v1.undecided ({dir}/undecided.so) needs io.containerd.content.v1.* with "
      "service "
      "berth.test.v1.Store as \"store\" and several would do: io.containerd.content.v1.store-a "
      "({dir}/store-a.so), "
      "io.containerd.content.v1.store-b ({dir}/store-b.so); choose one, for example store = "
      "\"store-a\" in "
      "[plugins.\"io.containerd.grpc.v1.undecided\"], or name the others in disabled_plugins"}},
    {"DuplicateService",
     {"twin-a", "twin-b"},
     {"service berth.test.v1.Twin is offered to clients by io.containerd.grpc.v1.twin-a "
      "({dir}/twin-a.so), "
      "io.containerd.grpc.v1.twin-b ({dir}/twin-b.so): name all but one in disabled_plugins"}},
    {"WorldWritableFile",
     {"writable"},
     {"load plugin: file {dir}/writable.so has mode 0666 and can be written by others: chmod go-w "
      "{dir}/writable.so"},
     true,
     "",
     "",
     [](const std::string& dir) { ::chmod((dir + "/writable.so").c_str(), 0666); }},
    {"WorldWritableDirectory",
     {"writable"},
     {"load plugin: directory {dir} has mode 0777 and can be written by others: chmod go-w {dir}"},
     true,
     "",
     "",
     [](const std::string& dir) { ::chmod(dir.c_str(), 0777); }},
    {"SamePluginTwice",
     {"writable"},
     {"plugin io.containerd.grpc.v1.writable is in several files, {dir}/copy.so and "
      "{dir}/writable.so: remove all but "
      "one, or disable it with disabled_plugins"},
     true,
     "",
     "",
     [](const std::string& dir) { fs::copy_file(dir + "/writable.so", dir + "/copy.so"); }},
};

INSTANTIATE_TEST_SUITE_P(All, BadPlugin, ::testing::ValuesIn(kFaults),
                         [](const auto& fault) { return fault.param.name; });

TEST(BadPluginAtWork, WhatAHandlerThrowsIsTheAnswerAndNothingElse) {
  const PluginFolder plugins({"throws-in-call"});
  DaemonProcess daemon(plugins.path(), {"--strict"}, kJsonLog);
  ASSERT_TRUE(daemon.wait_until_serving()) << daemon.log();
  RpcClient client(daemon.address());
  for (int i = 0; i < 3; ++i) {
    std::vector<std::string> responses;
    const auto status = client.call("/berth.test.v1.throws_in_call/Do", std::string(), &responses);
    EXPECT_EQ(status.code(), Code::kInternal);
    EXPECT_EQ(status.message(), "exception: the cupboard is bare");
  }
}

// Plugins share the host's process: one that crashes takes the daemon with it, and all that is left
// to do is to name it.

TEST(BadPluginAtWork, ACrashInProbeEndsTheDaemonAndNamesThePlugin) {
  const PluginFolder plugins({"crashes-in-probe"});
  DaemonProcess daemon(plugins.path(), {}, kJsonLog);
  EXPECT_FALSE(daemon.wait_until_serving());
  const Ending ending = daemon.process().wait(20'000);
  EXPECT_EQ(ending.signal, SIGSEGV) << daemon.log();
  EXPECT_THAT(
      messages_of(daemon.log()),
      Contains(
          "berthd: SIGSEGV in probe of plugin io.containerd.grpc.v1.crashes-in-probe: berthd ends; "
          "tell the plugin's vendor, or name it in disabled_plugins"));
}

TEST(BadPluginAtWork, ACrashInACallEndsTheDaemonAndNamesPluginAndMethod) {
  const PluginFolder plugins({"crashes-in-call"});
  DaemonProcess daemon(plugins.path(), {}, kJsonLog);
  ASSERT_TRUE(daemon.wait_until_serving()) << daemon.log();
  RpcClient client(daemon.address());
  std::vector<std::string> responses;
  const auto status = client.call("/berth.test.v1.crashes_in_call/Do", std::string(), &responses);
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_EQ(daemon.process().wait(20'000).signal, SIGSEGV) << daemon.log();
  EXPECT_THAT(
      messages_of(daemon.log()),
      Contains(
          "berthd: SIGSEGV in Do of plugin io.containerd.grpc.v1.crashes-in-call: berthd ends; "
          "tell the plugin's vendor, or name it in disabled_plugins"));
}

// A fault comes again when the handler has spoken; a signal that was sent must be sent again.
TEST(BadPluginAtWork, ASignalFromOutsideEndsTheDaemonAtOnce) {
  const PluginFolder plugins({});
  DaemonProcess daemon(plugins.path(), {}, kJsonLog);
  ASSERT_TRUE(daemon.wait_until_serving()) << daemon.log();
  daemon.process().kill(SIGSEGV);
  const Ending ending = daemon.process().wait(20'000);
  EXPECT_TRUE(ending.ended);
  EXPECT_EQ(ending.signal, SIGSEGV) << daemon.log();
}

TEST(BadPluginAtWork, ACrashingPluginThatIsDisabledDoesNoHarm) {
  const PluginFolder plugins({"crashes-in-probe"});
  DaemonProcess daemon(
      plugins.path(), {"--strict"},
      std::string("disabled_plugins = [\"io.containerd.grpc.v1.crashes-in-probe\"]\n") + kJsonLog);
  EXPECT_TRUE(daemon.wait_until_serving()) << daemon.log();
}

}  // namespace
}  // namespace berth::testing
