// Plugins of other minors of the ABI than the host's, in a real berthd: what was built with an
// earlier header is served as before, and what was built with a later one but asks for no more than
// this host has, too. tests/bad-plugins has the one that asks for more.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <sstream>

#include "berth/abi.h"
#include "daemon_process.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "rpc_client.h"

namespace berth::testing {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

std::vector<std::string> names() {
  std::vector<std::string> list;
  std::istringstream words(MINOR_NAMES);
  for (std::string word; words >> word;) list.push_back(word);
  return list;
}

class OtherMinor : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    daemon_.emplace(std::string(MINOR_PLUGINS) + "/" + GetParam(),
                    std::vector<std::string>{"--strict"});
    ASSERT_TRUE(daemon_->wait_until_serving()) << daemon_->log();
    client_.emplace(daemon_->address());
  }
  std::string ask(const std::string& service) {
    std::vector<std::string> responses;
    const auto status = client_->call("/berth.test.v1." + GetParam() + "." + service + "/Do",
                                      std::string(), &responses);
    EXPECT_TRUE(status.ok()) << status.message();
    return responses.empty() ? "" : responses.front();
  }

  std::optional<DaemonProcess> daemon_;
  std::optional<RpcClient> client_;
};

TEST_P(OtherMinor, ServesCallsAndMakesThem) {
  const std::string host = "host 0." + std::to_string(BERTH_ABI_MINOR) + ", plugin 0.";
  for (const char* service : {"Back", "Front"}) {
    const std::string answer = ask(service);
    EXPECT_THAT(answer, HasSubstr(host));
    if (GetParam() == "newer") {
      EXPECT_THAT(answer, EndsWith(std::to_string(BERTH_ABI_MINOR + 1) + ", has no newest"));
    } else {
      EXPECT_EQ(answer.find(host + std::to_string(BERTH_ABI_MINOR)), std::string::npos)
          << "it is of the host's own minor: " << answer;
    }
  }
}

TEST_P(OtherMinor, IsLeftOutOfReflectionWithoutDescriptors) {
  ask("Back");
  grpc::reflection::v1::ServerReflectionRequest request;
  request.set_file_containing_symbol("berth.test.v1." + GetParam() + ".Back");
  grpc::reflection::v1::ServerReflectionResponse response;
  const auto status = client_->unary("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                                     request, &response);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_TRUE(response.has_error_response()) << response.DebugString();
}

TEST_P(OtherMinor, StopsWithTheDaemon) {
  daemon_->process().kill(SIGTERM);
  const Ending ending = daemon_->process().wait(15'000);
  EXPECT_EQ(ending.signal, 0) << daemon_->log();
  EXPECT_EQ(ending.exit_code, 0) << daemon_->log();
}

INSTANTIATE_TEST_SUITE_P(Abi, OtherMinor, ::testing::ValuesIn(names()),
                         [](const auto& one) { return one.param; });

}  // namespace
}  // namespace berth::testing
