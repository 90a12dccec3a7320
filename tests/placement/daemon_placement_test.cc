// berthd with a plugin in a process of its own, or of another program: what the daemon tells of
// that process is what the kernel tells of it, and what the daemon is told reaches it.
#include <arpa/inet.h>
#include <berth/fd.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "berth/host/v1/host.pb.h"
#include "containerd/services/introspection/v1/introspection.pb.h"
#include "daemon_process.h"
#include "rpc_client.h"

namespace berth::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr const char* kUri = "berth.test.v1.sick";

bool eventually(const std::function<bool()>& holds) {
  for (int i = 0; i < 2000; ++i) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

/// A loopback port that nobody has now.
int free_port() {
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return 0;
  }
  return ntohs(address.sin_port);
}

std::string scrape(int port) {
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return {};
  const std::string request = "GET /v1/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
  if (::send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return {};
  std::string answer;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::recv(socket.get(), buffer, sizeof buffer, 0)) > 0;) {
    answer.append(buffer, static_cast<size_t>(got));
  }
  return answer;
}

/// The value of the plugin's line of a family; -1 where there is none.
double metric(const std::string& text, const std::string& family, const std::string& plugin) {
  const std::string line = "\n" + family + "{plugin=\"" + plugin + "\"} ";
  const size_t at = text.find(line);
  return at == std::string::npos ? -1 : std::stod(text.substr(at + line.size()));
}

/// What the kernel says of a process.
struct Kernel {
  double resident_bytes = 0;
  double cpu_seconds = 0;

  static Kernel of(pid_t pid) {
    Kernel out;
    const std::string folder = "/proc/" + std::to_string(pid);
    std::ifstream status(folder + "/status");
    for (std::string word; status >> word;) {
      if (word == "VmRSS:") status >> out.resident_bytes;
    }
    out.resident_bytes *= 1024;
    std::ifstream stat(folder + "/stat");
    std::string line;
    std::getline(stat, line);
    std::istringstream fields(line.substr(line.rfind(')') + 2));
    std::string field;
    for (int number = 3; number <= 15 && fields >> field; ++number) {  // as in proc(5)
      if (number >= 14)
        out.cpu_seconds += std::stod(field) / static_cast<double>(::sysconf(_SC_CLK_TCK));
    }
    return out;
  }
};

std::string sick_config(const std::string& settings) {
  return std::string("[plugins.\"") + kUri + "\"]\nplacement = \"process\"\n" + settings;
}

host::v1::Plugin told_of(DaemonProcess& daemon) {
  host::v1::ListRequest request;
  request.set_type("berth.test.v1");
  host::v1::ListResponse response;
  const Status status =
      RpcClient(daemon.address()).unary("/berth.host.v1.Plugins/List", request, &response);
  EXPECT_TRUE(status.ok()) << status.to_string();
  return response.plugins_size() == 1 ? response.plugins(0) : host::v1::Plugin();
}

TEST(DaemonPlacementTest, WhatIsToldOfAProcessIsWhatTheKernelTells) {
  const int port = free_port();
  ASSERT_NE(port, 0);
  DaemonProcess daemon(SICK_FOLDER, {},
                       "[metrics]\naddress = \"127.0.0.1:" + std::to_string(port) + "\"\n" +
                           sick_config("habits = \"burn hold\"\n"));
  ASSERT_TRUE(daemon.wait_until_serving()) << daemon.log();

  const auto compare = [&](double cpu_before_it) {
    const auto pid = static_cast<pid_t>(metric(scrape(port), "berth_plugin_process_id", kUri));
    EXPECT_GT(pid, 0);
    const std::string proc = "/proc/" + std::to_string(pid);
    EXPECT_EQ(std::filesystem::read_symlink(proc + "/exe").filename(), "berth-plugin-run");
    const Kernel before = Kernel::of(pid);
    const std::string text = scrape(port);
    const host::v1::Process told = told_of(daemon).process();
    const Kernel after = Kernel::of(pid);
    EXPECT_EQ(metric(text, "berth_plugin_process_id", kUri), pid);
    EXPECT_EQ(told.pid(), pid);

    constexpr double kMebibyte = 1 << 20;  // by which a process that rests may change
    EXPECT_GT(before.resident_bytes, 64 * kMebibyte) << "it has not done what the test needs";
    for (const double resident : {metric(text, "berth_plugin_process_resident_memory_bytes", kUri),
                                  static_cast<double>(told.resident_bytes())}) {
      EXPECT_NEAR(resident, before.resident_bytes, kMebibyte);
      EXPECT_NEAR(resident, after.resident_bytes, kMebibyte);
    }
    EXPECT_GT(before.cpu_seconds, 0.25) << "it has not done what the test needs";
    for (const double cpu : {metric(text, "berth_plugin_process_cpu_seconds_total", kUri),
                             static_cast<double>(told.cpu_ns()) / 1e9}) {
      EXPECT_GE(cpu, cpu_before_it + before.cpu_seconds - 1e-6);
      // The kernel's own account of what has ended is finer than its ticks.
      EXPECT_LE(cpu, cpu_before_it + after.cpu_seconds + (cpu_before_it > 0 ? 0.1 : 1e-6));
    }
    EXPECT_EQ(metric(text, "berth_plugin_process_restarts_total", kUri),
              static_cast<double>(told.restarts()));
    return std::pair(pid, told);
  };

  const auto [first, told] = compare(0);
  EXPECT_EQ(told.restarts(), 0U);
  EXPECT_EQ(told.last_end(), "");
  EXPECT_EQ(told.memory_max(), 0U);
  const double cpu_of_first = Kernel::of(first).cpu_seconds;
  ::kill(first, SIGKILL);
  // It is called ready before its start is over, as it is in the host.
  ASSERT_TRUE(eventually([&] {
    return daemon.log().find("berth.test.v1.sick runs again") != std::string::npos;
  })) << daemon.log();
  const auto [second, after] = compare(cpu_of_first);
  EXPECT_NE(second, first);
  EXPECT_EQ(after.restarts(), 1U);
  EXPECT_THAT(after.last_end(), AllOf(HasSubstr(std::to_string(first)), HasSubstr("SIGKILL")));
}

TEST(DaemonPlacementTest, OneInTheHostHasNoProcessToTellOf) {
  const int port = free_port();
  ASSERT_NE(port, 0);
  DaemonProcess daemon(SICK_FOLDER, {},
                       "[metrics]\naddress = \"127.0.0.1:" + std::to_string(port) + "\"\n");
  ASSERT_TRUE(daemon.wait_until_serving()) << daemon.log();
  EXPECT_FALSE(told_of(daemon).has_process());
  EXPECT_THAT(scrape(port),
              AllOf(HasSubstr("berth_plugin_ready"), Not(HasSubstr("berth_plugin_process"))));
}

TEST(DaemonPlacementTest, ALogLevelBySighupReachesTheProcess) {
  DaemonProcess daemon(SICK_FOLDER, {},
                       "[debug]\nlevel = \"info\"\n" + sick_config("habits = \"beat\"\n"));
  ASSERT_TRUE(daemon.wait_until_serving()) << daemon.log();
  const auto set_level = [&](const std::string& level) {
    const size_t before = daemon.log().size();
    std::ofstream(daemon.folder() + "/config.toml")
        << "version = 3\n[debug]\nlevel = \"" << level << "\"\n"
        << sick_config("habits = \"beat\"\n");
    daemon.process().kill(SIGHUP);
    ASSERT_TRUE(
        eventually([&] { return daemon.log().find("SIGHUP", before) != std::string::npos; }));
  };
  const std::string beat = "msg=\"beat\" plugin=berth.test.v1.sick";
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_THAT(daemon.log(), Not(HasSubstr(beat)));
  set_level("debug");
  EXPECT_TRUE(eventually([&] { return daemon.log().find(beat) != std::string::npos; }))
      << daemon.log();
  set_level("info");
  EXPECT_TRUE(eventually([&] {
    const size_t before = daemon.log().size();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    return daemon.log().find(beat, before) == std::string::npos;
  })) << daemon.log();
}

TEST(DaemonPlacementTest, AFirstStartThatFailsIsTriedAgainWhileTheDaemonServes) {
  DaemonProcess daemon(SICK_FOLDER, {}, sick_config("fails = \"init:once\"\n"));
  ASSERT_TRUE(daemon.wait_until_serving()) << daemon.log();
  EXPECT_THAT(daemon.log(),
              HasSubstr("berth.test.v1.sick failed in init: the init went wrong; what "
                        "needs it starts without it, and berthd tries again"));
  ASSERT_TRUE(eventually([&] { return told_of(daemon).state() == host::v1::STATE_READY; }))
      << daemon.log();
  const host::v1::Process told = told_of(daemon).process();
  EXPECT_EQ(told.restarts(), 1U);
  EXPECT_THAT(told.last_end(),
              HasSubstr("its first start failed in its init: the init went wrong"));
}

TEST(DaemonPlacementTest, OneWhoseStartsKeepFailingIsStartingAndSaysWhy) {
  DaemonProcess daemon(SICK_FOLDER, {}, sick_config("fails = \"init:fail\"\n"));
  ASSERT_TRUE(daemon.wait_until_serving()) << daemon.log();
  ASSERT_TRUE(eventually([&] { return told_of(daemon).process().restarts() >= 2; }));
  const host::v1::Plugin told = told_of(daemon);
  EXPECT_EQ(told.state(), host::v1::STATE_STARTING);
  EXPECT_THAT(told.reason(), HasSubstr("the init went wrong"));
  daemon.process().kill(SIGTERM);
  const Ending ending = daemon.process().wait(10000);
  EXPECT_TRUE(ending.ended);
  EXPECT_EQ(ending.exit_code, 0) << daemon.log();
}

TEST(DaemonPlacementTest, ARequiredOneMustStartAtOnce) {
  for (const bool strict : {false, true}) {
    DaemonProcess daemon(
        SICK_FOLDER, strict ? std::vector<std::string>{"--strict"} : std::vector<std::string>{},
        (strict ? std::string() : std::string("required_plugins = [\"") + kUri + "\"]\n") +
            sick_config("fails = \"init:once\"\n"));
    const Ending ending = daemon.process().wait(20000);
    EXPECT_TRUE(ending.ended);
    EXPECT_EQ(ending.exit_code, 1);
    EXPECT_THAT(daemon.log(), HasSubstr("berth.test.v1.sick does not run: the init went wrong"));
  }
}

/// What `berthctl plugin why` says of it.
std::string why(const DaemonProcess& daemon, const std::string& name) {
  const TemporaryFolder folder("why");
  Process process({BERTHCTL, "plugin", "why", name, "--address", daemon.address()},
                  folder.path() + "/said");
  EXPECT_EQ(process.wait(20000).exit_code, 0) << process.output();
  return process.output();
}

/// What containerd's clients are told: the plugin's error, empty where there is none.
std::string error_of(DaemonProcess& daemon, const std::string& id) {
  namespace pb = containerd::services::introspection::v1;
  pb::PluginsRequest request;
  request.add_filters("id==" + id);
  pb::PluginsResponse response;
  const Status status =
      RpcClient(daemon.address())
          .unary("/containerd.services.introspection.v1.Introspection/Plugins", request, &response);
  EXPECT_TRUE(status.ok()) << status.to_string();
  return response.plugins_size() == 1 ? response.plugins(0).init_err().message() : "not there";
}

/// Waits until the kernel has stopped it.
void stop_process(pid_t pid) {
  ASSERT_EQ(::kill(pid, SIGSTOP), 0);
  ASSERT_TRUE(eventually([&] {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string line;
    std::getline(stat, line);
    return line.find(") T ") != std::string::npos;
  }));
}

TEST(DaemonPlacementTest, AStoppedProcessIsUnresponsiveAtOnceAndReadyWhenItGoesOn) {
  DaemonProcess daemon(SICK_FOLDER, {}, sick_config(""));
  ASSERT_TRUE(daemon.wait_until_serving()) << daemon.log();
  EXPECT_THAT(why(daemon, "sick"), HasSubstr("is ready\n"));
  EXPECT_THAT(error_of(daemon, "sick"), IsEmpty());
  const pid_t pid = told_of(daemon).process().pid();
  stop_process(pid);
  const std::string said = why(daemon, "sick");
  const std::string number = std::to_string(pid);
  EXPECT_THAT(said, AllOf(HasSubstr(" is unresponsive: its process (pid " + number +
                                    ") is stopped by a signal (SIGSTOP, say)"),
                          HasSubstr("what to do: let it go on, with `kill -CONT " + number + "`"),
                          HasSubstr("once it has not answered for 30 s\n")));
  EXPECT_THAT(error_of(daemon, "sick"), HasSubstr("is stopped by a signal"));
  ::kill(pid, SIGCONT);
  EXPECT_TRUE(eventually([&] { return told_of(daemon).state() == host::v1::STATE_READY; }));
  EXPECT_EQ(told_of(daemon).process().pid(), pid);
}

TEST(DaemonPlacementTest, WhoListensAtTheAddressOfAProxiedPluginIsTold) {
  const TemporaryFolder folder("proxied");
  const std::string address = folder.path() + "/near.sock";
  DaemonProcess daemon(
      SICK_FOLDER, {},
      "[proxy_plugins.near]\ntype = \"snapshot\"\naddress = \"unix://" + address + "\"\n");
  ASSERT_TRUE(daemon.wait_until_serving()) << daemon.log();
  const std::string where = "is of another program, reached at unix://" + address +
                            " (type \"snapshot\", " + daemon.folder() + "/config.toml:2)";
  EXPECT_THAT(why(daemon, "near"),
              AllOf(HasSubstr(" is unresponsive: nobody listens at unix://" + address +
                              ": there is no socket\n"),
                    HasSubstr(where + "\n"),
                    HasSubstr("what to do: start the program that is to listen there; berthd finds "
                              "it at the next call")));
  {
    Process program(
        {PLUGIN_RUN, "--listen", address, "--root", folder.path() + "/root", SNAPSHOTTER},
        folder.path() + "/log");
    const std::string it = "process " + std::to_string(program.pid()) + " (berth-plugin-run)";
    EXPECT_TRUE(eventually([&] {
      return why(daemon, "near").find("io.containerd.snapshotter.v1.near is ready\n") == 0;
    })) << program.output();
    EXPECT_THAT(why(daemon, "near"), AllOf(HasSubstr(where + "; " + it + " answers there\n"),
                                           Not(HasSubstr("what to do"))));
    stop_process(program.pid());
    EXPECT_THAT(why(daemon, "near"),
                AllOf(HasSubstr(" is unresponsive: " + it + ", which listens at unix://" + address +
                                ", is stopped by a signal (SIGSTOP, say)\n"),
                      HasSubstr("what to do: let it go on, with `kill -CONT " +
                                std::to_string(program.pid()) + "`")));
  }
  EXPECT_THAT(why(daemon, "near"),
              HasSubstr(": there is a socket, but the program that made it has ended\n"));
}

}  // namespace
}  // namespace berth::testing
