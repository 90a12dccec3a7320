// A database on a file system that is full to the last block.
#include <berth/sqlite.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "testing/small_disk.h"

namespace berth::sqlite {
namespace {

class FullDiskTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto disk = SmallDisk::make(GetParam());
    if (disk.status().code() == Code::kUnimplemented) GTEST_SKIP() << disk.status().message();
    ASSERT_TRUE(disk.ok()) << disk.status().to_string();
    disk_ = std::move(*disk);
    open();
  }
  void TearDown() override { db_ = Database(); }

  std::string path() const { return disk_->path() + "/test.db"; }
  void open() {
    Database::Options options;
    options.make = [](Database& fresh) {
      return fresh.exec("CREATE TABLE t(k INTEGER PRIMARY KEY, v BLOB)");
    };
    auto db = Database::open(path(), options);
    ASSERT_TRUE(db.ok()) << db.status().to_string();
    db_ = std::move(*db);
  }
  Status add(int64_t size, Room room = Room::kLeave) {
    return with_log_room(db_, [&]() -> Status {
      BERTH_ASSIGN_OR_RETURN(Transaction transaction, Transaction::write(db_));
      BERTH_ASSIGN_OR_RETURN(Statement insert,
                             db_.prepare("INSERT INTO t(v) VALUES(zeroblob(?1))"));
      BERTH_RETURN_IF_ERROR(insert.bind(1, size).run());
      return transaction.commit(room);
    });
  }
  Status remove_first() {
    return with_log_room(db_, [&]() -> Status {
      BERTH_ASSIGN_OR_RETURN(Transaction transaction, Transaction::write(db_));
      BERTH_RETURN_IF_ERROR(db_.exec("DELETE FROM t WHERE k = (SELECT min(k) FROM t)"));
      return transaction.commit(Room::kUse);
    });
  }
  void add_many(int rows) {
    for (int i = 0; i < rows; ++i) {
      const Status added = add(1000);
      ASSERT_TRUE(added.ok()) << added.to_string();
    }
  }
  // By a connection of its own, as the daemon's readers are.
  int64_t count() {
    auto reader = Database::open(path(), {.read_only = true});
    EXPECT_TRUE(reader.ok()) << reader.status().to_string();
    if (!reader.ok()) return -1;
    auto rows = reader->prepare("SELECT count(*) FROM t");
    const auto row = rows->step();
    EXPECT_TRUE(row.ok()) << row.status().to_string();
    return rows->integer(0);
  }

  void remove_all(int rows) {
    for (int i = 0; i < rows; ++i) {
      const Status removed = remove_first();
      ASSERT_TRUE(removed.ok()) << removed.to_string();
    }
    EXPECT_EQ(count(), 0);
  }

  std::unique_ptr<SmallDisk> disk_;
  Database db_;
};

TEST_P(FullDiskTest, WhatRemovesSucceedsAndWhatAddsIsRefused) {
  add_many(60);
  disk_->fill();
  int64_t there = 60;
  Status refused;
  while ((refused = add(20'000)).ok()) {
    ++there;
    ASSERT_LT(there, 1000);
  }
  EXPECT_EQ(refused.code(), Code::kResourceExhausted) << refused.to_string();
  EXPECT_NE(refused.message().find(path()), std::string::npos) << refused.message();
  EXPECT_NE(refused.message().find("remove images"), std::string::npos) << refused.message();
  EXPECT_EQ(count(), there);
  // What removes may have to note something first, which takes pages.
  for (int i = 0; i < 12; ++i) {
    const Status noted = add(20'000, Room::kUse);
    ASSERT_TRUE(noted.ok()) << noted.to_string();
    ++there;
    ASSERT_TRUE(db_.reuse_log().ok());
    if (i % 4 == 0) disk_->fill();
  }
  while (there > 0) {
    const Status removed = remove_first();
    ASSERT_TRUE(removed.ok()) << removed.to_string() << " with " << there << " left";
    --there;
    if (there % 20 == 0) {
      disk_->sync();  // a write to a mapped page may need a block now
      disk_->fill();
      EXPECT_EQ(count(), there);
    }
  }
  disk_->make_room();
  for (int i = 0; i < 20; ++i) {
    const Status added = add(20'000);
    ASSERT_TRUE(added.ok()) << added.to_string();
  }
  EXPECT_EQ(count(), 20);
}

// SQLite would cut off what is not used when it writes the log back.
TEST_P(FullDiskTest, WhatTheFileGrewByStays) {
  const auto pages = [&] {
    auto count = db_.prepare("PRAGMA page_count");
    EXPECT_TRUE(count->step().ok());
    return count->integer(0);
  };
  while (pages() < 120) {
    const Status added = add(20'000);
    ASSERT_TRUE(added.ok()) << added.to_string();
  }
  ASSERT_TRUE(db_.reuse_log().ok());
  disk_->fill();
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(add(60'000, Room::kUse).ok());
    const Status written = db_.reuse_log();
    ASSERT_TRUE(written.ok()) << written.to_string();
  }
}

TEST_P(FullDiskTest, RemovesAfterACleanEnd) {
  add_many(20);
  db_.close();
  EXPECT_FALSE(Database::log_left(path()));
  disk_->fill();
  open();
  remove_all(20);
}

TEST_P(FullDiskTest, RemovesAfterAKill) {
  db_ = Database();
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    open();
    add_many(20);
    ::_exit(0);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_TRUE(Database::log_left(path()));
  disk_->fill();
  open();
  remove_all(20);
}

// Nothing could be kept then; it is made up for as soon as there is room.
TEST_P(FullDiskTest, OpenedForTheFirstTimeWhenThereWasNoRoom) {
  add_many(10);
  db_ = Database();
  for (const char* suffix : {"-wal", "-shm"}) ::unlink((path() + suffix).c_str());
  disk_->fill();
  auto db = Database::open(path());
  if (db.ok()) {
    db_ = std::move(*db);
    EXPECT_EQ(remove_first().code(), Code::kResourceExhausted);
    disk_->make_room();
  } else {  // xfs may have no room for another file
    disk_->make_room();
    open();
  }
  EXPECT_TRUE(remove_first().ok());
  disk_->fill();
  remove_all(9);
}

INSTANTIATE_TEST_SUITE_P(OnFileSystem, FullDiskTest, ::testing::Values("ext4", "xfs", "btrfs"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace berth::sqlite
