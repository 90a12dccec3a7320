// The ABI is bytes: a plugin in C and one in C++ on another standard library load into berthd and
// serve, seen from outside through gRPC and ttrpc. The messages on this side are protobuf's own, so
// the plugins' hand-made ones are checked.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "containerd/services/introspection/v1/introspection.pb.h"
#include "daemon_process.h"
#include "echo.pb.h"
#include "grpc/health/v1/health.pb.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "rpc_client.h"

namespace berth::testing {
namespace {

using berth::example::echo::v1::EchoRequest;
using berth::example::echo::v1::EchoResponse;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kService = "berth.example.echo.v1.Echo";
constexpr const char* kSay = "/berth.example.echo.v1.Echo/Say";
constexpr const char* kRepeat = "/berth.example.echo.v1.Echo/Repeat";

class AbiExample : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::string folder = std::string(TEST_PLUGINS) + "/" + GetParam();
    if (!std::filesystem::exists(folder + "/" + GetParam() + ".so")) {
      GTEST_SKIP() << GetParam() << " was not built: its compiler is missing";
    }
    daemon_.emplace(
        folder, std::vector<std::string>{"--strict"},
        "[plugins.\"io.containerd.grpc.v1." + GetParam() + "\"]\nprefix = \"you say: \"\n");
    ASSERT_TRUE(daemon_->wait_until_serving()) << daemon_->log();
    client_.emplace(daemon_->address());
  }

  static EchoRequest request(const std::string& text, uint32_t count = 0) {
    EchoRequest request;
    request.set_text(text);
    request.set_count(count);
    return request;
  }

  std::optional<DaemonProcess> daemon_;
  std::optional<RpcClient> client_;
};

TEST_P(AbiExample, AnswersUnaryCallsWithConfigurationAndHeaders) {
  EchoResponse response;
  const auto status =
      client_->unary(kSay, request("hello"), &response, {{"containerd-namespace", "port"}});
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(response.text(), "you say: hello");
  EXPECT_EQ(response.namespace_(), "port");
}

TEST_P(AbiExample, CarriesAMegabyteUnchanged) {
  std::string text(1 << 20, 'x');
  for (size_t i = 0; i < text.size(); i += 1000) text[i] = static_cast<char>('a' + i / 1000 % 26);
  EchoResponse response;
  const auto status = client_->unary(kSay, request(text), &response);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(response.text(), "you say: " + text);
}

TEST_P(AbiExample, StreamsMoreThanTheWindowHolds) {
  std::vector<std::string> responses;
  const std::string text(200, 's');
  const auto status = client_->call(kRepeat, request(text, 10'000).SerializeAsString(), &responses);
  ASSERT_TRUE(status.ok()) << status.message();
  ASSERT_EQ(responses.size(), 10'000U);
  for (uint32_t i = 0; i < responses.size(); ++i) {
    EchoResponse response;
    ASSERT_TRUE(response.ParseFromString(responses[i]));
    ASSERT_EQ(response.index(), i);
    ASSERT_EQ(response.text(), "you say: " + text);
  }
}

TEST_P(AbiExample, ReportsErrorsWithCodeAndText) {
  EchoResponse response;
  auto status = client_->unary(kSay, request(""), &response);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_EQ(status.message(), "echo: text is empty: say something: invalid argument");

  std::vector<std::string> responses;
  status = client_->call(kSay, std::string("\x0a\xff\xff", 3), &responses);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("well-formed"));
  EXPECT_THAT(status.message(), HasSubstr("EchoRequest"));

  status = client_->call("/berth.example.echo.v1.Echo/Shout", std::string(), &responses);
  EXPECT_EQ(status.code(), Code::kUnimplemented);
}

TEST_P(AbiExample, ServesSixteenCallersAtOnce) {
  std::atomic<int> good = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 16; ++i) {
    callers.emplace_back([&, i] {
      RpcClient client(daemon_->address());
      for (int j = 0; j < 50; ++j) {
        EchoResponse response;
        const std::string text = std::to_string(i) + "/" + std::to_string(j);
        if (client.unary(kSay, request(text), &response).ok() &&
            response.text() == "you say: " + text) {
          ++good;
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(good, 16 * 50);
}

TEST_P(AbiExample, AnswersTheSameOverTtrpc) {
  std::string bytes;
  const Status status =
      ttrpc_call(daemon_->address() + ".ttrpc", kService, "Say",
                 request("shim").SerializeAsString(), &bytes, {{"containerd-namespace", "moby"}});
  ASSERT_TRUE(status.ok()) << status.message();
  EchoResponse response;
  ASSERT_TRUE(response.ParseFromString(bytes));
  EXPECT_EQ(response.text(), "you say: shim");
  EXPECT_EQ(response.namespace_(), "moby");

  const Status refused = ttrpc_call(daemon_->address() + ".ttrpc", kService, "Say",
                                    request("").SerializeAsString(), &bytes);
  EXPECT_EQ(refused.code(), Code::kInvalidArgument);
  EXPECT_EQ(refused.message(), "echo: text is empty: say something: invalid argument");
}

TEST_P(AbiExample, IsListedByReflectionWithItsMessages) {
  grpc::reflection::v1::ServerReflectionRequest list;
  list.set_list_services("");
  grpc::reflection::v1::ServerReflectionRequest symbol;
  symbol.set_file_containing_symbol(kService);
  std::vector<std::string> answers;
  const auto status =
      client_->call("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                    {list.SerializeAsString(), symbol.SerializeAsString()}, &answers);
  ASSERT_TRUE(status.ok()) << status.message();
  ASSERT_EQ(answers.size(), 2U);

  grpc::reflection::v1::ServerReflectionResponse services;
  ASSERT_TRUE(services.ParseFromString(answers[0]));
  std::vector<std::string> names;
  for (const auto& service : services.list_services_response().service()) {
    names.push_back(service.name());
  }
  EXPECT_THAT(names, Contains(kService));

  grpc::reflection::v1::ServerReflectionResponse files;
  ASSERT_TRUE(files.ParseFromString(answers[1]));
  ASSERT_GE(files.file_descriptor_response().file_descriptor_proto_size(), 1)
      << files.ShortDebugString();
  EXPECT_THAT(files.file_descriptor_response().file_descriptor_proto(0), HasSubstr("EchoRequest"));
}

TEST_P(AbiExample, IsHealthy) {
  grpc::health::v1::HealthCheckRequest ask;
  ask.set_service(kService);
  grpc::health::v1::HealthCheckResponse answer;
  const auto status = client_->unary("/grpc.health.v1.Health/Check", ask, &answer);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(answer.status(), grpc::health::v1::HealthCheckResponse::SERVING);
}

TEST_P(AbiExample, StopsInOrderAndLeavesNothing) {
  EchoResponse response;
  ASSERT_TRUE(client_->unary(kSay, request("bye"), &response).ok());
  const auto began = std::chrono::steady_clock::now();
  daemon_->process().kill(SIGTERM);
  const Ending ending = daemon_->process().wait(10'000);
  EXPECT_TRUE(ending.ended) << daemon_->log();
  EXPECT_EQ(ending.exit_code, 0) << daemon_->log();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5));
  std::vector<std::string> left;
  for (const auto& entry : std::filesystem::directory_iterator(daemon_->folder())) {
    left.push_back(entry.path().filename());
  }
  EXPECT_THAT(left, ::testing::UnorderedElementsAre("config.toml", "log", "root", "state"))
      << "a socket or another file was left behind";
  EXPECT_TRUE(std::filesystem::is_empty(daemon_->folder() + "/state"));
}

INSTANTIATE_TEST_SUITE_P(Examples, AbiExample, ::testing::Values("echo-c", "echo-libcxx"),
                         [](const auto& example) {
                           return std::string(example.param == "echo-c" ? "C" : "LibCxx");
                         });

// The page of docs/writing-plugins.md.
TEST(DocumentedExample, PlainSnapshotterRuns) {
  DaemonProcess daemon(std::string(TEST_PLUGINS) + "/snapshot-plain", {"--strict"}, "");
  ASSERT_TRUE(daemon.wait_until_serving()) << daemon.log();
  RpcClient client(daemon.address());
  containerd::services::introspection::v1::PluginsRequest request;
  request.add_filters("type==io.containerd.snapshotter.v1");
  containerd::services::introspection::v1::PluginsResponse response;
  const auto status = client.unary("/containerd.services.introspection.v1.Introspection/Plugins",
                                   request, &response);
  ASSERT_TRUE(status.ok()) << status.message();
  ASSERT_EQ(response.plugins_size(), 1);
  EXPECT_EQ(response.plugins(0).id(), "plain");
  EXPECT_FALSE(response.plugins(0).has_init_err()) << response.ShortDebugString();
}

// In a process that has two C++ libraries, each with its own idea of std::length_error.
TEST(AbiLibCxx, ExceptionsStayInsideThePlugin) {
  const std::string folder = std::string(TEST_PLUGINS) + "/echo-libcxx";
  if (!std::filesystem::exists(folder + "/echo-libcxx.so")) {
    GTEST_SKIP() << "echo-libcxx was not built: clang++ with libc++ is missing";
  }
  DaemonProcess daemon(folder);
  ASSERT_TRUE(daemon.wait_until_serving()) << daemon.log();
  RpcClient client(daemon.address());
  EchoRequest request;
  request.set_text("again");
  request.set_count(100'001);
  std::vector<std::string> responses;
  const auto status = client.call(kRepeat, request.SerializeAsString(), &responses);
  EXPECT_EQ(status.code(), Code::kInternal);
  EXPECT_EQ(status.message(), "exception: echo: that is too often");
  EchoResponse response;
  EXPECT_TRUE(client.unary(kSay, request, &response).ok()) << "the daemon does not go on";
}

}  // namespace
}  // namespace berth::testing
