// berth-plugin-run as a program: what it serves, how it ends, and what it refuses with which words.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "daemon_process.h"
#include "grpc/health/v1/health.pb.h"
#include "rpc_client.h"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;
using grpc::health::v1::HealthCheckResponse;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kUri = "io.containerd.grpc.v1.runnable";

class PluginRun : public ::testing::Test {
 protected:
  PluginRun() : folder_("plugin-run") {}

  std::string in(const std::string& name) const { return folder_.path() + "/" + name; }
  std::string socket() const { return in("plugin.sock"); }

  /// Its section of the configuration.
  void configure(const std::string& section) const {
    std::ofstream(in("config.toml")) << "version = 3\n[plugins.\"" << kUri << "\"]\n" << section;
  }

  void begin(const std::string& file, const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {PLUGIN_RUN, "--listen", socket(), "--root", in("root"), file};
    if (fs::exists(in("config.toml"))) {
      words.insert(words.end(), {"--config", in("config.toml")});
    }
    words.insert(words.end(), more.begin(), more.end());
    process_.reset();  // ended before another one begins
    process_ = std::make_unique<Process>(words, in("log"));
  }
  bool serves(const std::string& file = RUNNABLE, const std::vector<std::string>& more = {}) {
    fs::remove(in("log"));
    begin(file, more);
    for (int i = 0; i < 2000 && process_->running(); ++i) {
      if (log().find(" serves on " + socket()) != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  /// What it says when it does not start.
  std::string refusal(const std::string& file = RUNNABLE,
                      const std::vector<std::string>& more = {}) {
    begin(file, more);
    const struct Ending ending = process_->wait(20'000);
    EXPECT_TRUE(ending.ended) << "it runs";
    EXPECT_EQ(ending.exit_code, 1) << log();
    EXPECT_FALSE(fs::exists(socket())) << "it left its socket";
    return log();
  }
  std::string log() const { return process_->output(); }

  Status ask(const std::string& method, std::string* answer = nullptr,
             const Headers& headers = {}) const {
    RpcClient client(socket());
    std::vector<std::string> responses;
    const Status status =
        client.call("/berth.test.v1.Runnable/" + method, std::string(), &responses, headers);
    if (answer != nullptr && !responses.empty()) *answer = responses.front();
    return status;
  }
  HealthCheckResponse::ServingStatus health(const std::string& service) const {
    RpcClient client(socket());
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    HealthCheckResponse response;
    const Status status = client.unary("/grpc.health.v1.Health/Check", request, &response);
    EXPECT_TRUE(status.ok()) << status.to_string();
    return response.status();
  }

  TemporaryFolder folder_;
  std::unique_ptr<Process> process_;
};

// -- serving
// ---------------------------------------------------------------------------------------

TEST_F(PluginRun, ServesThePluginWithItsConfigurationAndHeaders) {
  configure("word = \"configured\"\n");
  ASSERT_TRUE(serves()) << log();
  std::string answer;
  const Status status = ask("Do", &answer, {{"containerd-namespace", "moby"}});
  EXPECT_TRUE(status.ok()) << status.to_string();
  EXPECT_EQ(answer, "configured 0 moby") << "an optional requirement is bound to nobody";
  struct stat folder {};
  ASSERT_EQ(::stat((in("root/") + kUri).c_str(), &folder), -1) << "made before it was asked for";
}

TEST_F(PluginRun, DefaultsHoldWithoutAConfiguration) {
  ASSERT_TRUE(serves()) << log();
  std::string answer;
  EXPECT_TRUE(ask("Do", &answer).ok());
  EXPECT_EQ(answer, "default 0 ");
}

TEST_F(PluginRun, TellsItsHealth) {
  ASSERT_TRUE(serves()) << log();
  EXPECT_EQ(health(""), HealthCheckResponse::SERVING);
  EXPECT_EQ(health("berth.test.v1.Runnable"), HealthCheckResponse::SERVING);
  EXPECT_TRUE(ask("Sicken").ok());
  EXPECT_EQ(health("berth.test.v1.Runnable"), HealthCheckResponse::NOT_SERVING);
  const Status refused = ask("Do");
  EXPECT_EQ(refused.code(), Code::kUnavailable);
  EXPECT_THAT(refused.message(), AllOf(HasSubstr(kUri), HasSubstr("told to be")));
}

TEST_F(PluginRun, OneOfSeveralIsChosen) {
  ASSERT_TRUE(serves(TWO_PLUGINS, {"--plugin", kUri})) << log();
  RpcClient client(socket());
  std::vector<std::string> responses;
  EXPECT_TRUE(client.call("/berth.test.v1.Runnable/Do", std::string(), &responses).ok());
  EXPECT_EQ(client.call("/berth.test.v1.Second/Do", std::string(), &responses).code(),
            Code::kUnimplemented);
}

TEST_F(PluginRun, AFileThatIsNoSocketIsLeftAlone) {
  std::ofstream(socket()) << "precious";
  begin(RUNNABLE);
  EXPECT_EQ(process_->wait(20'000).exit_code, 1);
  EXPECT_THAT(log(), HasSubstr("that is no socket; remove it or choose another address"));
  std::ifstream file(socket());
  std::string text;
  file >> text;
  EXPECT_EQ(text, "precious");
}

TEST_F(PluginRun, FoldersHaveOneOwner) {
  const auto refused = [&](std::vector<std::string> words) {
    Process other(words, in("other.log"));
    const struct Ending ending = other.wait(20'000);
    EXPECT_EQ(ending.exit_code, 1) << other.output();
    return other.output();
  };
  const auto daemon = [&](const std::string& root, const std::string& state) {
    return std::vector<std::string>{
        berthd_program(), "--address", in("berthd.sock"), "--root",      root,
        "--state",        state,       "--plugin-dir",    folder_.path()};
  };
  ASSERT_TRUE(serves()) << log();
  EXPECT_THAT(refused({PLUGIN_RUN, "--listen", in("other.sock"), "--root", in("root"), RUNNABLE}),
              HasSubstr(std::string(kUri) + ".lock: another berth-plugin-run has the plugin"));
  EXPECT_THAT(refused(daemon(in("root"), in("state"))),
              HasSubstr("another berthd, or a berth-plugin-run, uses"));

  DaemonProcess serving(folder_.path());
  ASSERT_TRUE(serving.wait_until_serving()) << serving.log();
  EXPECT_THAT(refused(daemon(in("root2"), serving.folder() + "/state")),
              HasSubstr("another berthd uses this state"));
  EXPECT_THAT(refused({PLUGIN_RUN, "--listen", in("other.sock"), "--root",
                       serving.folder() + "/root", RUNNABLE}),
              HasSubstr("a berthd uses this root"));
}

TEST_F(PluginRun, TheSocketIsForItsGroup) {
  ASSERT_TRUE(serves()) << log();
  struct stat status {};
  ASSERT_EQ(::stat(socket().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0660U);
}

// -- ending
// ----------------------------------------------------------------------------------------

class Stops : public PluginRun, public ::testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(Signals, Stops, ::testing::Values(SIGTERM, SIGINT));

TEST_P(Stops, OnASignal) {
  ASSERT_TRUE(serves()) << log();
  process_->kill(GetParam());
  const struct Ending ending = process_->wait(15'000);
  EXPECT_EQ(ending.exit_code, 0) << log();
  EXPECT_TRUE(fs::exists(in("root/") + kUri + "/stopped")) << "the plugin was not stopped";
  EXPECT_FALSE(fs::exists(socket())) << "the socket is left";
  EXPECT_THAT(log(), HasSubstr(std::string(kUri) + " stops"));
}

TEST_F(PluginRun, AStopCancelsCallsInFlight) {
  ASSERT_TRUE(serves()) << log();
  auto waiting = std::async(std::launch::async, [this] { return ask("Wait"); });
  for (int i = 0; i < 1000 && log().find("somebody waits") == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  process_->kill(SIGTERM);
  EXPECT_EQ(waiting.get().code(), Code::kUnavailable);
  EXPECT_EQ(process_->wait(15'000).exit_code, 0) << log();
}

TEST_F(PluginRun, AfterKill9ItStartsOnTheSameSocket) {
  ASSERT_TRUE(serves()) << log();
  process_->kill(SIGKILL);
  EXPECT_EQ(process_->wait(5'000).signal, SIGKILL);
  EXPECT_TRUE(fs::exists(socket()));
  ASSERT_TRUE(serves()) << log();
  EXPECT_TRUE(ask("Do").ok());
}

TEST_F(PluginRun, TellsSystemdWhenItIsReadyAndWhenItStops) {
  const int notify = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  in("notify").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(notify, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const timeval patience{15, 0};
  ASSERT_EQ(::setsockopt(notify, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
  const auto told = [&] {
    char text[512];
    const ssize_t size = ::recv(notify, text, sizeof text, 0);
    return size < 0 ? std::string("(nothing)") : std::string(text, static_cast<size_t>(size));
  };
  ::setenv("NOTIFY_SOCKET", in("notify").c_str(), 1);
  EXPECT_TRUE(serves()) << log();
  ::unsetenv("NOTIFY_SOCKET");
  EXPECT_THAT(told(), AllOf(HasSubstr("READY=1"), HasSubstr(kUri)));
  process_->kill(SIGTERM);
  EXPECT_THAT(told(), HasSubstr("STOPPING=1"));
  ::close(notify);
}

// -- refusals
// --------------------------------------------------------------------------------------

TEST_F(PluginRun, RefusesWhatIsNoPlugin) {
  EXPECT_THAT(refusal(in("absent.so")), HasSubstr("absent.so"));
  std::ofstream(in("text.so")) << "not a shared object\n";
  EXPECT_THAT(refusal(in("text.so")), HasSubstr("text.so"));
  EXPECT_THAT(refusal(BAD_PLUGINS "/no-manifest.so"), HasSubstr("it has no manifest"));
  EXPECT_THAT(refusal(BAD_PLUGINS "/misspelt.so"), HasSubstr("unknown key \"clientfacing\""));
}

TEST_F(PluginRun, RefusesAPluginOfAnotherAbi) {
  EXPECT_THAT(refusal(BAD_PLUGINS "/wrong-major.so"), HasSubstr("abi.major is 7, this host has 0"));
  EXPECT_THAT(refusal(BAD_PLUGINS "/new-minor.so"), HasSubstr("it needs at least ABI 0.900"));
  EXPECT_THAT(refusal(BAD_PLUGINS "/lying-major.so"), HasSubstr("abi.major is 7"));
}

TEST_F(PluginRun, RefusesAFileThatOthersMayChange) {
  fs::copy_file(RUNNABLE, in("open.so"));
  ASSERT_EQ(::chmod(in("open.so").c_str(), 0666), 0);
  EXPECT_THAT(refusal(in("open.so")), HasSubstr("open.so has mode 0666"));
}

TEST_F(PluginRun, RefusesAPluginThatNeedsOthers) {
  EXPECT_THAT(refusal(BAD_PLUGINS "/lonely.so"),
              AllOf(HasSubstr("io.containerd.grpc.v1.lonely by itself: it requires \"peer\""),
                    HasSubstr("run it in berthd")));
}

TEST_F(PluginRun, RefusesToGuessWhichPluginIsMeant) {
  const std::string both = "io.containerd.grpc.v1.runnable, io.containerd.grpc.v1.second";
  EXPECT_THAT(refusal(TWO_PLUGINS), HasSubstr("name one of them with --plugin: " + both));
  EXPECT_THAT(refusal(TWO_PLUGINS, {"--plugin", "x.y"}), HasSubstr("x.y is none of them: " + both));
  EXPECT_THAT(refusal(TWO_PLUGINS, {"--plugin", "io.containerd.grpc.v1.second"}),
              HasSubstr("it requires \"first\""));
}

TEST_F(PluginRun, RefusesAConfigurationThatIsNone) {
  EXPECT_THAT(refusal(RUNNABLE, {"--config", in("absent.toml")}), HasSubstr("absent.toml"));
  std::ofstream(in("broken.toml")) << "version = 3\nthis is no TOML\n";
  EXPECT_THAT(refusal(RUNNABLE, {"--config", in("broken.toml")}), HasSubstr("broken.toml:2"));
  EXPECT_THAT(refusal(RUNNABLE, {"--log-level", "loud"}), HasSubstr("loud"));
  EXPECT_THAT(refusal(RUNNABLE, {"--group", "no-such-group"}),
              HasSubstr("there is no group no-such-group"));
}

TEST_F(PluginRun, WarnsOfAValueThatThePluginDoesNotHave) {
  configure("wrod = \"x\"\nword = 7\n");
  ASSERT_TRUE(serves()) << log();
  EXPECT_THAT(log(),
              AllOf(HasSubstr("config.toml:3"), HasSubstr("wrod"), HasSubstr("config.toml:4")));
  std::string answer;
  EXPECT_TRUE(ask("Do", &answer).ok());
  EXPECT_EQ(answer, "default 0 ") << "a value of another type counts as not given";
}

TEST_F(PluginRun, SaysWhichStepFailedAndWhatAMachineLacks) {
  configure("fails_in = \"probe\"\ncode = 9\n");
  EXPECT_THAT(refusal(), HasSubstr("run " + std::string(kUri) +
                                   ": its probe says that this machine lacks what it needs: told "
                                   "to fail"));
  for (const char* step : {"probe", "init", "start"}) {
    configure(std::string("fails_in = \"") + step + "\"\n");
    EXPECT_THAT(refusal(), HasSubstr(": its " + std::string(step) + " failed: told to fail"));
  }
}

TEST_F(PluginRun, RefusesASocketThatIsTakenOrNoPath) {
  ASSERT_TRUE(serves()) << log();
  Process second({PLUGIN_RUN, "--listen", socket(), "--root", in("other"), RUNNABLE}, in("second"));
  EXPECT_EQ(second.wait(20'000).exit_code, 1);
  EXPECT_THAT(second.output(), HasSubstr(socket()));
  EXPECT_TRUE(ask("Do").ok()) << "the first one lost its socket";
  Process relative({PLUGIN_RUN, "--listen", "relative.sock", "--state", in("state"), "--root",
                    in("other"), RUNNABLE},
                   in("relative"));
  EXPECT_EQ(relative.wait(20'000).exit_code, 1);
  EXPECT_THAT(relative.output(), HasSubstr("relative.sock"));
}

}  // namespace
}  // namespace berth::testing
