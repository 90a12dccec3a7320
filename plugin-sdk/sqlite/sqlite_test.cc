#include <berth/sqlite.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <set>

namespace berth::sqlite {
namespace {

class SqliteTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/berth-sqlite-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    auto db = Database::open(path());
    ASSERT_TRUE(db.ok()) << db.status().to_string();
    db_ = std::move(db).value();
    ASSERT_TRUE(db_.exec("CREATE TABLE t(k TEXT PRIMARY KEY, v INTEGER)").ok());
  }
  void TearDown() override {
    db_ = Database();
    std::filesystem::remove_all(folder_);
  }
  std::string path() const { return folder_ + "/test.db"; }
  int64_t count() {
    auto statement = db_.prepare("SELECT count(*) FROM t");
    EXPECT_TRUE(statement->step().value());
    return statement->integer(0);
  }

  std::string folder_;
  Database db_;
};

TEST_F(SqliteTest, MadeForTheOwnerAloneAndDurable) {
  struct stat status {};
  ASSERT_EQ(::stat(path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  auto mode = db_.prepare("PRAGMA journal_mode");
  ASSERT_TRUE(mode->step().value());
  EXPECT_EQ(mode->text(0), "wal");
  auto synchronous = db_.prepare("PRAGMA synchronous");
  ASSERT_TRUE(synchronous->step().value());
  EXPECT_EQ(synchronous->integer(0), 2);
}

TEST_F(SqliteTest, TextKeepsNulBytesAndEmptyIsNotNull) {
  auto insert = db_.prepare("INSERT INTO t VALUES(?1, ?2)");
  const std::string key("a\0b", 3);
  ASSERT_TRUE(insert->bind(1, key).bind(2, 7).run().ok());
  ASSERT_TRUE(insert->bind(1, std::string_view()).bind_null(2).run().ok());
  auto select = db_.prepare("SELECT k, v FROM t ORDER BY k");
  ASSERT_TRUE(select->step().value());
  EXPECT_FALSE(select->is_null(0));
  EXPECT_EQ(select->text(0), "");
  EXPECT_TRUE(select->is_null(1));
  ASSERT_TRUE(select->step().value());
  EXPECT_EQ(select->text(0), key);
  EXPECT_EQ(select->integer(1), 7);
  EXPECT_FALSE(select->step().value());
}

TEST_F(SqliteTest, ConstraintIsAlreadyExistsAndTheStatementCanBeUsedAgain) {
  auto insert = db_.prepare("INSERT INTO t VALUES(?1, 1)");
  ASSERT_TRUE(insert->bind(1, "a").run().ok());
  const Status twice = insert->run();
  EXPECT_EQ(twice.code(), Code::kAlreadyExists);
  EXPECT_NE(twice.message().find(path()), std::string::npos) << twice.message();
  EXPECT_TRUE(insert->bind(1, "b").run().ok());
}

TEST_F(SqliteTest, TransactionIsUndoneUnlessCommitted) {
  {
    auto transaction = Transaction::write(db_);
    ASSERT_TRUE(transaction.ok());
    ASSERT_TRUE(db_.exec("INSERT INTO t VALUES('a', 1)").ok());
  }
  EXPECT_EQ(count(), 0);
  {
    auto transaction = Transaction::write(db_);
    ASSERT_TRUE(transaction.ok());
    ASSERT_TRUE(db_.exec("INSERT INTO t VALUES('a', 1)").ok());
    ASSERT_TRUE(transaction->commit().ok());
  }
  EXPECT_EQ(count(), 1);
}

TEST_F(SqliteTest, ReadTransactionSeesOneState) {
  auto reader = Database::open(path(), {.read_only = true});
  ASSERT_TRUE(reader.ok()) << reader.status().to_string();
  auto transaction = Transaction::read(*reader);
  ASSERT_TRUE(transaction.ok());
  auto select = reader->prepare("SELECT count(*) FROM t");
  ASSERT_TRUE(select->step().value());
  EXPECT_EQ(select->integer(0), 0);
  select->reset();
  ASSERT_TRUE(db_.exec("INSERT INTO t VALUES('a', 1)").ok());
  ASSERT_TRUE(select->step().value());
  EXPECT_EQ(select->integer(0), 0);
  select->reset();
  EXPECT_EQ(reader->exec("DELETE FROM t").code(), Code::kPermissionDenied);
}

TEST_F(SqliteTest, TheLogGrowsForSeveralCommitsAtOnce) {
  constexpr uintmax_t kStep = 256 << 10;
  const std::string log = path() + "-wal";
  auto insert = db_.prepare("INSERT INTO t VALUES(?1, 1)");
  std::set<uintmax_t> sizes;
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(insert->bind(1, "key " + std::to_string(i)).run().ok());
    sizes.insert(std::filesystem::file_size(log));
  }
  // Two pages at least for each.
  EXPECT_GE(*sizes.rbegin(), 200 * 2 * 4096U);
  for (const uintmax_t size : sizes) EXPECT_EQ(size % kStep, 0U);
  EXPECT_LE(sizes.size(), *sizes.rbegin() / kStep);

  // What a killed process leaves: the zeros behind the last commit are no part of the log.
  const std::string copy = folder_ + "/copy.db";
  std::filesystem::copy_file(path(), copy);
  std::filesystem::copy_file(log, copy + "-wal");
  auto again = Database::open(copy);
  ASSERT_TRUE(again.ok()) << again.status().to_string();
  auto rows = again->prepare("SELECT count(*) FROM t");
  ASSERT_TRUE(rows->step().value());
  EXPECT_EQ(rows->integer(0), 200);
  EXPECT_TRUE(again->exec("INSERT INTO t VALUES('one more', 1)").ok());
}

TEST_F(SqliteTest, WhatIsNoDatabaseIsDataLoss) {
  const std::string bad = folder_ + "/bad.db";
  FILE* file = ::fopen(bad.c_str(), "w");
  ASSERT_NE(file, nullptr);
  ::fputs(std::string(4096, 'x').c_str(), file);
  ::fclose(file);
  auto opened = Database::open(bad);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.status().code(), Code::kDataLoss);
  EXPECT_NE(opened.status().message().find(bad), std::string::npos);
}

TEST_F(SqliteTest, NewDatabaseAppearsWholeOrNotAtAll) {
  const std::string fresh = folder_ + "/fresh.db";
  Database::Options options;
  options.make = [&](Database& db) -> Status {
    EXPECT_FALSE(std::filesystem::exists(fresh));
    BERTH_RETURN_IF_ERROR(db.exec("CREATE TABLE made(x); INSERT INTO made VALUES(7)"));
    return internal_error("half-way");
  };
  EXPECT_EQ(Database::open(fresh, options).status().code(), Code::kInternal);
  EXPECT_FALSE(std::filesystem::exists(fresh));

  int made = 0;
  options.make = [&](Database& db) -> Status {
    ++made;
    return db.exec("CREATE TABLE made(x); INSERT INTO made VALUES(7)");
  };
  for (int i = 0; i < 2; ++i) {
    auto db = Database::open(fresh, options);
    ASSERT_TRUE(db.ok()) << db.status().to_string();
    auto select = db->prepare("SELECT x, (SELECT * FROM pragma_journal_mode) FROM made");
    ASSERT_TRUE(select->step().value());
    EXPECT_EQ(select->integer(0), 7);
    EXPECT_EQ(select->text(1), "wal");
  }
  EXPECT_EQ(made, 1);
  struct stat status {};
  ASSERT_EQ(::stat(fresh.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  EXPECT_FALSE(std::filesystem::exists(fresh + ".new"));
}

TEST_F(SqliteTest, WrongParameterShowsAtStep) {
  auto insert = db_.prepare("INSERT INTO t VALUES(?1, 1)");
  EXPECT_FALSE(insert->bind(5, "a").run().ok());
  EXPECT_EQ(count(), 0);
}

}  // namespace
}  // namespace berth::sqlite
