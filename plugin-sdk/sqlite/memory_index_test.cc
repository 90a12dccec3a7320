#include "memory_index.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace berth::sqlite {
namespace {

constexpr int kShared = SQLITE_SHM_LOCK | SQLITE_SHM_SHARED;
constexpr int kExclusive = SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE;
constexpr int kUnshare = SQLITE_SHM_UNLOCK | SQLITE_SHM_SHARED;
constexpr int kRelease = SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE;
constexpr int kRegion = 32768;

class MemoryIndexTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/berth-index-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    std::ofstream(path()) << "x";
    ASSERT_EQ(MemoryIndex::open(path(), &index_), SQLITE_OK);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path() const { return folder_ + "/db"; }

  std::string folder_;
  std::shared_ptr<MemoryIndex> index_;
  MemoryIndex::Held one_;
  MemoryIndex::Held two_;
};

TEST_F(MemoryIndexTest, OneForAllConnectionsWhileThereAreAny) {
  std::shared_ptr<MemoryIndex> again;
  std::filesystem::create_symlink(path(), folder_ + "/link");
  ASSERT_EQ(MemoryIndex::open(folder_ + "/link", &again), SQLITE_OK);  // the same file
  EXPECT_EQ(again, index_);
  void volatile* region = nullptr;
  ASSERT_EQ(index_->map(0, kRegion, true, &region), SQLITE_OK);
  *static_cast<char volatile*>(region) = 1;
  index_.reset();
  again.reset();
  ASSERT_EQ(MemoryIndex::open(path(), &index_), SQLITE_OK);
  ASSERT_EQ(index_->map(0, kRegion, false, &region), SQLITE_OK);
  EXPECT_EQ(region, nullptr);  // SQLite makes it from the log then
}

TEST_F(MemoryIndexTest, RegionsStayWhereTheyAreAndBeginWithZeros) {
  void volatile* first = nullptr;
  void volatile* third = nullptr;
  void volatile* again = nullptr;
  ASSERT_EQ(index_->map(0, kRegion, true, &first), SQLITE_OK);
  ASSERT_EQ(index_->map(2, kRegion, false, &third), SQLITE_OK);
  EXPECT_EQ(third, nullptr);
  ASSERT_EQ(index_->map(2, kRegion, true, &third), SQLITE_OK);
  ASSERT_NE(third, nullptr);
  EXPECT_EQ(static_cast<char volatile*>(third)[kRegion - 1], 0);
  ASSERT_EQ(index_->map(0, kRegion, true, &again), SQLITE_OK);
  EXPECT_EQ(again, first);
}

TEST_F(MemoryIndexTest, ManyShareOrOneHolds) {
  EXPECT_EQ(index_->lock(&one_, 3, 1, kShared), SQLITE_OK);
  EXPECT_EQ(index_->lock(&two_, 3, 1, kShared), SQLITE_OK);
  EXPECT_EQ(index_->lock(&two_, 4, 1, kExclusive), SQLITE_OK);
  MemoryIndex::Held other;
  EXPECT_EQ(index_->lock(&other, 3, 1, kExclusive), SQLITE_BUSY);
  EXPECT_EQ(index_->lock(&other, 4, 1, kShared), SQLITE_BUSY);
  EXPECT_EQ(index_->lock(&one_, 3, 1, kUnshare), SQLITE_OK);
  EXPECT_EQ(index_->lock(&other, 3, 1, kExclusive), SQLITE_BUSY);  // two_ has it still
  EXPECT_EQ(index_->lock(&two_, 3, 1, kUnshare), SQLITE_OK);
  EXPECT_EQ(index_->lock(&other, 3, 1, kExclusive), SQLITE_OK);
  EXPECT_EQ(index_->lock(&one_, 3, 1, kShared), SQLITE_BUSY);
  EXPECT_EQ(index_->lock(&other, 3, 1, kRelease), SQLITE_OK);
  EXPECT_EQ(index_->lock(&one_, 3, 1, kShared), SQLITE_OK);
}

TEST_F(MemoryIndexTest, ARangeIsTakenWholeOrNotAtAll) {
  EXPECT_EQ(index_->lock(&one_, 5, 1, kShared), SQLITE_OK);
  EXPECT_EQ(index_->lock(&two_, 3, 4, kExclusive), SQLITE_BUSY);
  EXPECT_EQ(index_->lock(&one_, 3, 1, kShared), SQLITE_OK);
  // What a connection does not hold is not taken from others.
  EXPECT_EQ(index_->lock(&two_, 3, 4, kRelease), SQLITE_OK);
  EXPECT_EQ(index_->lock(&two_, 5, 1, kExclusive), SQLITE_BUSY);
}

TEST_F(MemoryIndexTest, AnotherProcessIsToldToWait) {
  const auto elsewhere = [&](int expected) {
    const pid_t child = ::fork();
    if (child == 0) {
      sqlite3* db = nullptr;
      sqlite3_file* file = nullptr;
      void volatile* region = nullptr;
      if (sqlite3_open_v2(path().c_str(), &db, SQLITE_OPEN_READWRITE, nullptr) != SQLITE_OK ||
          sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK)
        ::_exit(1);
      ::_exit(file->pMethods->xShmMap(file, 0, kRegion, 1, &region) == expected ? 0 : 2);
    }
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
  };
  EXPECT_EQ(elsewhere(SQLITE_BUSY), 0);
  index_.reset();
  EXPECT_EQ(elsewhere(SQLITE_OK), 0);
}

}  // namespace
}  // namespace berth::sqlite
