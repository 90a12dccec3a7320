#include <berth/fd.h>
#include <berth/shim_client/launcher.h>
#include <berth/shim_client/program.h>
#include <berth/shim_client/stray.h>
#include <berth/ttrpc/loop.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "containerd/runtime/task/v2/shim.pb.h"
#include "testing/folder.h"

namespace berth::shim_client {
namespace {

using namespace std::chrono_literals;
using berth::testing::TestFolder;

int64_t soon(std::chrono::nanoseconds time) { return ttrpc::monotonic_ns() + time.count(); }

Program shell(const std::string& script, const std::string& input = "") {
  return {"/bin/sh", {"-c", script}, {"PATH=/usr/bin:/bin"}, "/", input};
}

TEST(Program, GivesBackBothOutputsAndTheStatus) {
  const auto outcome =
      run_program(shell("read x; echo out $x; echo err >&2; exit 3", "hello\n"), soon(10s));
  ASSERT_TRUE(outcome.ok()) << outcome.status().to_string();
  EXPECT_EQ(outcome->output, "out hello\n");
  EXPECT_EQ(outcome->errors, "err\n");
  EXPECT_EQ(outcome->exit_status, 3);
  EXPECT_EQ(run_program(shell("kill -TERM $$"), soon(10s))->exit_status, 128 + SIGTERM);
}

TEST(Program, GetsNoDescriptorButItsThree) {
  const UniqueFd leaked(
      ::open("/dev/null", O_RDONLY));  // without CLOEXEC, as a careless library leaves it
  const auto outcome = run_program(shell("ls /proc/$$/fd"), soon(10s));
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->output, "0\n1\n2\n");
}

TEST(Program, LeadsItsOwnGroupWithDefaultSignals) {
  sigset_t blocked;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
  const auto before = ::signal(SIGHUP, SIG_IGN);
  const auto outcome = run_program(
      shell("grep -E '^Sig(Blk|Ign)' /proc/$$/status | cut -f2; ps -o pgid= -p $$; echo $$"),
      soon(10s));
  ::signal(SIGHUP, before);
  ::pthread_sigmask(SIG_UNBLOCK, &blocked, nullptr);
  ASSERT_TRUE(outcome.ok());
  std::istringstream lines(outcome->output);
  uint64_t mask = 1;
  uint64_t ignored = 1;
  pid_t group = 0;
  pid_t pid = 1;
  lines >> std::hex >> mask >> ignored >> std::dec >> group >> pid;
  EXPECT_EQ(mask, 0u) << outcome->output;
  // The two that the C library keeps for itself (32 and 33) are ignored in every program that it
  // spawns.
  EXPECT_EQ(ignored & 0x7fffffff, 0u) << outcome->output;
  EXPECT_EQ(group, pid) << outcome->output;
}

TEST(Program, IsKilledWithItsChildrenWhenItTakesTooLong) {
  const auto before = std::chrono::steady_clock::now();
  const auto outcome = run_program(shell("echo $$ >&2; sleep 60 & sleep 60"), soon(200ms));
  EXPECT_LT(std::chrono::steady_clock::now() - before, 5s);
  ASSERT_EQ(outcome.status().code(), Code::kDeadlineExceeded);
  const std::string& message = outcome.status().message();
  const pid_t group = std::atoi(message.substr(message.rfind(": ") + 2).c_str());
  ASSERT_GT(group, 1) << message;
  bool gone = false;
  for (int i = 0; i < 200 && !gone; ++i) {
    gone = ::kill(-group, 0) != 0;
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_TRUE(gone);
}

TEST(Program, IsKilledWhenTheCallerHasGone) {
  const auto before = std::chrono::steady_clock::now();
  const auto outcome = run_program(shell("sleep 60"), soon(50s), [&] {
    return std::chrono::steady_clock::now() - before > 300ms;
  });
  EXPECT_LT(std::chrono::steady_clock::now() - before, 5s);
  EXPECT_EQ(outcome.status().code(), Code::kCancelled);
}

TEST(Program, IsNotWaitedForThroughWhatItLeavesRunning) {
  const auto before = std::chrono::steady_clock::now();
  const auto outcome = run_program(shell("sleep 3 & echo started"), soon(10s));
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->output, "started\n");
  EXPECT_LT(std::chrono::steady_clock::now() - before, 2500ms);
}

TEST(Program, NeedNotReadItsInputAndMayTalkMuch) {
  const auto deaf = run_program(shell("exit 0", std::string(1 << 20, 'x')), soon(10s));
  ASSERT_TRUE(deaf.ok()) << deaf.status().to_string();
  const auto chatty = run_program(shell("head -c 3000000 /dev/zero"), soon(20s));
  ASSERT_TRUE(chatty.ok());
  EXPECT_EQ(chatty->output.size(), size_t{1} << 20);
  EXPECT_EQ(run_program({"/no/such/program", {}, {}, "", ""}, soon(1s)).status().code(),
            Code::kNotFound);
}

TEST(Stray, ProcessesInAFolderAreKilledAndNoOthers) {
  const TestFolder folder;
  std::filesystem::create_directory(folder / "bundle");
  std::filesystem::create_directory(folder / "bundle-2");
  const auto leave = [&](const std::string& name) {
    const auto outcome = run_program({"/bin/sh",
                                      {"-c", "sleep 60 >&- 2>&- & echo $!"},
                                      {"PATH=/usr/bin:/bin"},
                                      folder / name,
                                      ""},
                                     soon(10s));
    EXPECT_TRUE(outcome.ok());
    return outcome.ok() ? std::atoi(outcome->output.c_str()) : 0;
  };
  const pid_t inside = leave("bundle");
  const pid_t outside = leave("bundle-2");
  ASSERT_GT(inside, 1);
  ASSERT_GT(outside, 1);
  const auto lives = [](pid_t pid) {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string field;
    stat >> field >> field >> field;
    return !field.empty() && field != "Z" && field != "X";
  };
  const auto ends = [&](pid_t pid) {
    for (int i = 0; i < 200 && lives(pid); ++i) std::this_thread::sleep_for(10ms);
    return !lives(pid);
  };
  EXPECT_EQ(kill_processes_in(folder / "bundle"), 1u);
  EXPECT_TRUE(ends(inside));
  EXPECT_TRUE(lives(outside));
  EXPECT_EQ(kill_processes_in(folder / "bundle-2"), 1u);
  EXPECT_TRUE(ends(outside));
  EXPECT_EQ(kill_processes_in(folder / "bundle-2"), 0u);
}

class Launcher : public ::testing::Test {
 protected:
  Launcher() {
    settings.shim_path = {folder.path()};
    settings.address = "/run/berth/berth.sock";
    settings.ttrpc_address = "/run/berth/berth.sock.ttrpc";
    settings.publish_binary = "/usr/bin/berthd";
    settings.environment = {"EXTRA=1", "GOMAXPROCS=4"};
    settings.start_timeout = 2s;
    std::filesystem::create_directory(folder / "state");
    std::filesystem::create_directory(folder / "root");
  }
  /// A shim program that is a shell script; "-v" prints `version`.
  std::string install(const std::string& name, const std::string& script,
                      const std::string& version = "1.6.20") {
    const std::string path = folder / name;
    std::ofstream(path) << "#!/bin/sh\n[ \"$1\" = -v ] && { echo '  Version:  " << version
                        << "'; exit 0; }\n"
                        << script;
    ::chmod(path.c_str(), 0755);
    return path;
  }
  Bundle make_bundle() {
    return *Bundle::create({folder / "state", folder / "root"}, {"ns1", "c1"}, "{}");
  }

  TestFolder folder;
  LauncherSettings settings;
};

TEST_F(Launcher, NamesOfRuntimesBecomeNamesOfPrograms) {
  EXPECT_EQ(shim_binary_name("io.containerd.runc.v2"), "containerd-shim-runc-v2");
  EXPECT_EQ(shim_binary_name("a.b"), "containerd-shim-a-b");
  EXPECT_EQ(shim_binary_name("runc"), "");
  EXPECT_EQ(shim_binary_name("io..v2"), "");
}

TEST_F(Launcher, FindsAProgramOrSaysWhatIsMissing) {
  const std::string path = install("containerd-shim-test-v1", "");
  const ShimLauncher launcher(settings);
  EXPECT_EQ(*launcher.resolve("io.example.test.v1"), path);
  EXPECT_EQ(*launcher.resolve(path), path);
  EXPECT_EQ(launcher.resolve("io.example.none.v1").status().message(),
            "runtime \"io.example.none.v1\" binary not installed \"containerd-shim-none-v1\": file "
            "does not exist");
  // Berth's own comes before that of PATH, and what an administrator names before both.
  const std::string own = folder / "own";
  const std::string named = folder / "named";
  for (const std::string& place : {own, named}) {
    std::filesystem::create_directory(place);
    std::filesystem::copy(path, place + "/containerd-shim-test-v1");
  }
  settings.path = folder.path();
  settings.shim_path = {};
  settings.own = {own};
  EXPECT_EQ(*ShimLauncher(settings).resolve("io.example.test.v1"),
            own + "/containerd-shim-test-v1");
  settings.shim_path = {named};
  EXPECT_EQ(*ShimLauncher(settings).resolve("io.example.test.v1"),
            named + "/containerd-shim-test-v1");
  EXPECT_FALSE(launcher.resolve("/no/such/shim").ok());
  EXPECT_FALSE(launcher.resolve("relative/shim").ok());
  EXPECT_FALSE(launcher.resolve("").ok());
}

TEST_F(Launcher, StartsAsContainerdDoes) {
  const std::string path = install("shim", R"(
    echo "args: $*" > seen; cat > stdin; env | sort >> seen; pwd >> seen
    echo unix:///run/s/x)");
  const Bundle bundle = make_bundle();
  const auto bootstrap = ShimLauncher(settings).start(bundle, path, "options", INT64_MAX);
  ASSERT_TRUE(bootstrap.ok()) << bootstrap.status().to_string();
  EXPECT_EQ(bootstrap->address, "unix:///run/s/x");
  EXPECT_EQ(*bundle.read("stdin"), "options");
  const std::string seen = *bundle.read("seen");
  EXPECT_NE(seen.find("args: -namespace ns1 -address /run/berth/berth.sock -publish-binary "
                      "/usr/bin/berthd -id c1 start"),
            std::string::npos)
      << seen;
  for (const std::string line :
       {"TTRPC_ADDRESS=/run/berth/berth.sock.ttrpc", "GRPC_ADDRESS=/run/berth/berth.sock",
        "NAMESPACE=ns1", "MAX_SHIM_VERSION=2", "EXTRA=1", "GOMAXPROCS=4"}) {
    EXPECT_NE(seen.find("\n" + line + "\n"), std::string::npos) << line << "\n" << seen;
  }
  EXPECT_NE(seen.find("\n" + bundle.path() + "\n"), std::string::npos) << seen;
}

TEST_F(Launcher, NewShimsGetTheirParametersAsAMessage) {
  const std::string path = install("shim", "cat > stdin; echo unix:///run/s/x", "v2.3.1");
  const Bundle bundle = make_bundle();
  ASSERT_TRUE(ShimLauncher(settings).start(bundle, path, "any", INT64_MAX).ok());
  const std::string input = *bundle.read("stdin");
  EXPECT_TRUE(input.starts_with(std::string("\x0a\x02") + "c1" + "\x12\x03" + "ns1")) << input;
  EXPECT_TRUE(input.ends_with(std::string("\x42\x05\x0a\x03") + "any")) << input;
}

TEST_F(Launcher, WordsOfAFailedShimAreTheError) {
  const ShimLauncher launcher(settings);
  const Bundle bundle = make_bundle();
  const auto failed =
      launcher.start(bundle, install("shim", "echo 'no cgroup' >&2; exit 1"), "", INT64_MAX);
  EXPECT_EQ(failed.status().code(), Code::kUnknown);
  EXPECT_EQ(failed.status().message(), "no cgroup: exit status 1");
  settings.start_timeout = 200ms;
  const auto slow =
      ShimLauncher(settings).start(bundle, install("slow", "sleep 60"), "", INT64_MAX);
  EXPECT_EQ(slow.status().code(), Code::kDeadlineExceeded);
  EXPECT_NE(slow.status().message().find(folder / "slow"), std::string::npos);
}

TEST_F(Launcher, DeleteTellsHowTheTaskEnded) {
  const Bundle bundle = make_bundle();
  containerd::task::v2::DeleteResponse response;
  response.set_pid(42);
  response.set_exit_status(137);
  response.mutable_exited_at()->set_seconds(1'700'000'001);
  std::ofstream(bundle.file("response")) << response.SerializeAsString();
  const std::string path = install("shim", "echo \"$*\" > seen; cat response; echo warning >&2");
  const auto exit = ShimLauncher(settings).remove(bundle, path);
  ASSERT_TRUE(exit.ok()) << exit.status().to_string();
  EXPECT_EQ(exit->pid, 42u);
  EXPECT_EQ(exit->status, 137u);
  EXPECT_EQ(exit->seconds, 1'700'000'001);
  EXPECT_NE(bundle.read("seen")->find("-bundle " + bundle.path() + " delete"), std::string::npos);
}

TEST_F(Launcher, OldShimsCannotDescribeThemselves) {
  const ShimLauncher launcher(settings);
  const std::string old = install("old", "echo 'flag provided but not defined: -info' >&2; exit 2");
  EXPECT_EQ(launcher.info(old, "").status().code(), Code::kUnimplemented);
  const std::string fresh = install("new", R"(printf '\012\004name')");
  EXPECT_EQ(*launcher.info(fresh, ""), std::string("\x0a\x04") + "name");
}

}  // namespace
}  // namespace berth::shim_client
