// Who a socket is for, as somebody who is not root.
#include "rpc/socket.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

namespace berth::rpc {
namespace {

constexpr uint32_t kNobody = 65534;

/// In a process of its own: what listening says, and whether a file is there then.
[[noreturn]] void listen_as_nobody(const std::string& path, bool for_root) {
  if (::geteuid() == 0 && (::setgid(kNobody) != 0 || ::setuid(kNobody) != 0)) ::_exit(3);
  const auto listening =
      for_root ? listen_unix(path, 0, 0) : listen_unix(path, ::geteuid(), ::getegid());
  std::fprintf(stderr, "%s; there: %d\n",
               listening.ok() ? "listens" : listening.status().message().c_str(),
               std::filesystem::exists(path));
  ::_exit(0);
}

TEST(SocketTest, IsForOneselfWhereOneIsNotRoot) {
  std::string folder = "/tmp/berth-socket-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  ASSERT_EQ(::chmod(folder.c_str(), 0777), 0);
  EXPECT_EXIT(listen_as_nobody(folder + "/a", true), ::testing::ExitedWithCode(0),
              "give socket .* to user 0 and group 0 \\(run as root, or name your own\\): "
              "Operation not permitted; there: 0");
  EXPECT_EXIT(listen_as_nobody(folder + "/b", false), ::testing::ExitedWithCode(0),
              "listens; there: 1");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace berth::rpc
