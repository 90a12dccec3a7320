// The database on a file system that runs full.
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "store.h"
#include "testing.h"

namespace berth::metadata {
namespace {

class FullDiskTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "mounting a tmpfs needs root";
    if (::mount("tmpfs", directory_.path().c_str(), "tmpfs", 0, "size=8m") != 0) {
      GTEST_SKIP() << "mount tmpfs: " << std::strerror(errno);
    }
    mounted_ = true;
  }
  void TearDown() override {
    if (!mounted_) return;
    EXPECT_EQ(::umount2(directory_.path().c_str(), MNT_DETACH), 0);
  }
  std::string path() const { return directory_.path() + "/metadata.db"; }
  static Status insert(Store& store, const std::string& name, size_t size) {
    const std::string bulk(size, 'x');
    return store.write(
        [&](Tx& tx) { return run(tx, "INSERT INTO namespaces VALUES (?1, ?2)", name, bulk); });
  }
  static int64_t count(Store& store) {
    int64_t rows = -1;
    const Status status = store.read([&](Connection& db) -> Status {
      Query query(db, "SELECT count(*) FROM namespaces");
      BERTH_ASSIGN_OR_RETURN(const bool row, query.next());
      if (row) rows = query.integer(0);
      return {};
    });
    EXPECT_TRUE(status.ok()) << status.to_string();
    return rows;
  }

  TempDirectory directory_;
  bool mounted_ = false;
};

TEST_F(FullDiskTest, SaysSoAndGoesOnWhenThereIsRoomAgain) {
  auto opened = Store::open(path(), {});
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  Store& store = **opened;
  store.start();
  const std::string ballast = directory_.path() + "/ballast";
  {
    const int fd = ::open(ballast.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ASSERT_GE(fd, 0);
    EXPECT_EQ(::posix_fallocate(fd, 0, 5 << 20), 0);
    ::close(fd);
  }
  int64_t acknowledged = 0;
  Status status;
  for (int i = 0; i < 200; ++i) {
    status = insert(store, "n" + std::to_string(i), 100'000);
    if (!status.ok()) break;
    ++acknowledged;
  }
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.to_string();
  EXPECT_NE(status.message().find(path()), std::string::npos);
  EXPECT_EQ(count(store), acknowledged);  // what was refused is not there

  ASSERT_EQ(::unlink(ballast.c_str()), 0);
  status = insert(store, "again", 1000);
  EXPECT_TRUE(status.ok()) << status.to_string();
  EXPECT_EQ(count(store), acknowledged + 1);
}

}  // namespace
}  // namespace berth::metadata
