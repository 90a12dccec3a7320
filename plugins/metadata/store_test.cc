#include "store.h"

#include <berth/fd.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <semaphore>
#include <sstream>

#include "schema.h"
#include "testing.h"

namespace berth::metadata {
namespace {

class StoreTest : public testing::Test {
 protected:
  std::unique_ptr<Store> open() {
    auto store = Store::open(path(), {});
    EXPECT_TRUE(store.ok()) << store.status().to_string();
    if (!store.ok()) return nullptr;
    (*store)->start();
    return std::move(*store);
  }
  std::string path() const { return directory_.path() + "/metadata.db"; }

  static Status insert(Tx& tx, const std::string& name) {
    return run(tx, "INSERT INTO namespaces (name) VALUES (?1)", name);
  }
  static int64_t count(Store& store) {
    int64_t rows = -1;
    EXPECT_TRUE(store
                    .read([&](Connection& db) -> Status {
                      Query query(db, "SELECT count(*) FROM namespaces");
                      BERTH_ASSIGN_OR_RETURN(const bool row, query.next());
                      if (row) rows = query.integer(0);
                      return {};
                    })
                    .ok());
    return rows;
  }

  TempDirectory directory_;
};

TEST_F(StoreTest, KeepsWhatWasAcknowledged) {
  {
    auto store = open();
    ASSERT_TRUE(store->write([](Tx& tx) { return insert(tx, "a"); }).ok());
    EXPECT_EQ(count(*store), 1);
  }
  EXPECT_EQ(count(*open()), 1);
}

TEST_F(StoreTest, AFailedMutationIsUndoneAloneAmongMany) {
  auto store = open();
  std::atomic<int> failures = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 32; ++i) {
    threads.emplace_back([&, i] {
      const Status status = store->write([&](Tx& tx) -> Status {
        BERTH_RETURN_IF_ERROR(insert(tx, "n" + std::to_string(i)));
        return i % 4 == 0 ? aborted("no") : Status();
      });
      EXPECT_EQ(status.ok(), i % 4 != 0) << status.to_string();
      if (!status.ok()) ++failures;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(failures, 8);
  EXPECT_EQ(count(*store), 24);
}

TEST_F(StoreTest, ReadsDoNotWaitForTheWriter) {
  auto store = open();
  ASSERT_TRUE(store->write([](Tx& tx) { return insert(tx, "a"); }).ok());
  std::binary_semaphore in_write{0};
  std::binary_semaphore go_on{0};
  std::thread writer([&] {
    EXPECT_TRUE(store
                    ->write([&](Tx& tx) {
                      Status status = insert(tx, "b");
                      in_write.release();
                      go_on.acquire();
                      return status;
                    })
                    .ok());
  });
  in_write.acquire();
  EXPECT_EQ(count(*store), 1);  // would never return if it waited
  go_on.release();
  writer.join();
  EXPECT_EQ(count(*store), 2);
}

TEST_F(StoreTest, TellsHowMuchChanged) {
  auto store = open();
  std::vector<Changes> seen;
  store->on_commit([&](const Changes& changes) { seen.push_back(changes); });
  ASSERT_TRUE(store->write([](Tx& tx) { return insert(tx, "a"); }).ok());
  ASSERT_FALSE(store->write([](Tx&) { return aborted("no"); }).ok());
  ASSERT_TRUE(store
                  ->write([](Tx& tx) {
                    tx.mark_dirty();
                    return insert(tx, "b");
                  })
                  .ok());
  store->close();
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_EQ(seen[0].mutations, 1U);
  EXPECT_FALSE(seen[0].dirty);
  EXPECT_EQ(seen[1].mutations, 2U);
  EXPECT_TRUE(seen[1].dirty);
}

TEST_F(StoreTest, NumbersAreNeverGivenTwice) {
  int64_t last = 0;
  for (int round = 0; round < 3; ++round) {
    auto store = open();
    for (int i = 0; i < 5; ++i) {
      const Result<int64_t> number = store->next_number();
      ASSERT_TRUE(number.ok());
      EXPECT_GT(*number, last);
      last = *number;
    }
  }
}

// A child writes with many threads and reports each acknowledged name; it is killed in the middle.
TEST_F(StoreTest, AcknowledgedIsDurableUnderKill) {
  for (int round = 0; round < 3; ++round) {
    int pipe_fds[2];
    ASSERT_EQ(::pipe2(pipe_fds, O_CLOEXEC), 0);
    UniqueFd in(pipe_fds[0]);
    UniqueFd out(pipe_fds[1]);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto store = Store::open(path(), {});
      if (!store.ok()) ::_exit(1);
      (*store)->start();
      std::vector<std::thread> threads;
      for (int t = 0; t < 8; ++t) {
        threads.emplace_back([&, t] {
          for (int i = 0;; ++i) {
            const std::string name =
                std::to_string(round) + "-" + std::to_string(t) + "-" + std::to_string(i);
            if (!(*store)->write([&](Tx& tx) { return insert(tx, name); }).ok()) ::_exit(2);
            const std::string line = name + "\n";
            if (::write(out.get(), line.data(), line.size()) < 0) ::_exit(3);
          }
        });
      }
      for (auto& thread : threads) thread.join();
      ::_exit(0);
    }
    out.reset();
    std::string acknowledged;
    char buffer[4096];
    while (acknowledged.size() < 4000) {
      const ssize_t size = ::read(in.get(), buffer, sizeof buffer);
      if (size <= 0) break;
      acknowledged.append(buffer, static_cast<size_t>(size));
    }
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status));
    while (true) {
      const ssize_t size = ::read(in.get(), buffer, sizeof buffer);
      if (size <= 0) break;
      acknowledged.append(buffer, static_cast<size_t>(size));
    }
    ASSERT_GE(acknowledged.size(), 4000U);

    auto store = open();
    ASSERT_NE(store, nullptr);
    std::istringstream lines(acknowledged);
    std::string name;
    int checked = 0;
    while (std::getline(lines, name)) {
      bool found = false;
      ASSERT_TRUE(store
                      ->read([&](Connection& db) -> Status {
                        BERTH_ASSIGN_OR_RETURN(
                            found, exists(db, "SELECT 1 FROM namespaces WHERE name = ?1", name));
                        return {};
                      })
                      .ok());
      ASSERT_TRUE(found) << name << " was acknowledged and is gone";
      ++checked;
    }
    EXPECT_GT(checked, 100);
  }
}

TEST_F(StoreTest, ADamagedDatabaseIsRefusedByName) {
  {
    auto store = open();
    ASSERT_TRUE(store->write([](Tx& tx) { return insert(tx, "a"); }).ok());
  }
  {
    std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
    file << "this is not a database at all";
  }
  auto refused = Store::open(path(), {});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), Code::kDataLoss);
  EXPECT_NE(refused.status().message().find(path()), std::string::npos);
}

TEST_F(StoreTest, AnotherProgramsDatabaseIsLeftAlone) {
  {
    auto db = sqlite::Database::open(path());
    ASSERT_TRUE(db.ok());
    ASSERT_TRUE(db->exec("CREATE TABLE theirs (x)").ok());
  }
  auto refused = Store::open(path(), {});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), Code::kFailedPrecondition);
}

TEST_F(StoreTest, MigratesForwardAndRefusesNewerFormats) {
  auto db = sqlite::Database::open(path());
  ASSERT_TRUE(db.ok());
  const char* const one[] = {"CREATE TABLE t (a); INSERT INTO t VALUES (7)"};
  const char* const two[] = {one[0], "ALTER TABLE t ADD COLUMN b DEFAULT 8"};
  ASSERT_TRUE(migrate(*db, path(), one).ok());
  ASSERT_TRUE(migrate(*db, path(), two).ok());
  EXPECT_EQ(*db->user_version(), 2);
  auto row = db->prepare("SELECT a + b FROM t");
  ASSERT_TRUE(row.ok());
  ASSERT_TRUE(*row->step());
  EXPECT_EQ(row->integer(0), 15);
  row->reset();
  const Status newer = migrate(*db, path(), one);
  EXPECT_EQ(newer.code(), Code::kFailedPrecondition);
  EXPECT_NE(newer.message().find("version 2"), std::string::npos);
}

TEST_F(StoreTest, AFailedMigrationLeavesTheOldFormat) {
  auto db = sqlite::Database::open(path());
  ASSERT_TRUE(db.ok());
  const char* const steps[] = {"CREATE TABLE t (a)", "CREATE TABLE u (a); nonsense"};
  EXPECT_FALSE(migrate(*db, path(), steps).ok());
  EXPECT_EQ(*db->user_version(), 1);
  EXPECT_TRUE(db->prepare("SELECT * FROM t").ok());
  EXPECT_FALSE(db->prepare("SELECT * FROM u").ok());
}

TEST_F(StoreTest, TheLogIsBoundedUnderSteadyWriting) {
  auto options = Store::Options();
  options.survives_power_loss = false;  // faster; the log is the same
  auto store = Store::open(path(), options);
  ASSERT_TRUE(store.ok());
  (*store)->start();
  const std::string bulk(200'000, 'x');
  for (int i = 0; i < 600; ++i) {  // 120 MB of log in all
    ASSERT_TRUE((*store)
                    ->write([&](Tx& tx) {
                      return run(tx, "INSERT OR REPLACE INTO namespaces VALUES ('n', ?1)", bulk);
                    })
                    .ok());
  }
  EXPECT_LT(std::filesystem::file_size(path() + "-wal"), 48U << 20);
}

// Overwriting blocks of the log is what makes a commit cheap.
TEST_F(StoreTest, TheLogBeginsAnewUnderSteadyWriting) {
  auto store = open();
  const std::string bulk(3'000, 'x');
  for (int i = 0; i < 5000; ++i) {  // 40 MB of log in all
    ASSERT_TRUE(store
                    ->write([&](Tx& tx) {
                      return run(tx, "INSERT OR REPLACE INTO namespaces VALUES (?1, ?2)",
                                 "n" + std::to_string(i), bulk);
                    })
                    .ok());
  }
  EXPECT_LT(std::filesystem::file_size(path() + "-wal"), 20U << 20);
}

// Run by the next test as a process of its own, with SQLite as others have it.
TEST(OtherProcess, DISABLED_IsToldThatTheDatabaseIsLocked) {
  const char* path = std::getenv("BERTH_TEST_DATABASE");
  ASSERT_NE(path, nullptr);
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, nullptr), SQLITE_OK);
  // What a SELECT does first; it would go on asking for ten seconds.
  sqlite3_file* file = nullptr;
  ASSERT_EQ(sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file), SQLITE_OK);
  void volatile* index = nullptr;
  EXPECT_EQ(file->pMethods->xShmMap(file, 0, 32768, 1, &index), SQLITE_BUSY);
  EXPECT_EQ(sqlite3_close(db), SQLITE_OK);
}

// The index of the log is in memory, so others must keep away. Locks tell them, and closing any
// descriptor of a file gives a process's locks on it up (fcntl(2)).
TEST_F(StoreTest, AnotherProcessIsKeptAway) {
  auto store = open();
  ASSERT_TRUE(store->write([](Tx& tx) { return insert(tx, "a"); }).ok());
  EXPECT_EQ(count(*store), 1);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::setenv("BERTH_TEST_DATABASE", path().c_str(), 1);
    ::execl("/proc/self/exe", "other", "--gtest_also_run_disabled_tests",
            "--gtest_filter=OtherProcess.*", "--gtest_brief=1", static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(std::filesystem::exists(path() + "-wal"));
  ASSERT_TRUE(store->write([](Tx& tx) { return insert(tx, "b"); }).ok());
  EXPECT_EQ(count(*store), 2);
}

TEST_F(StoreTest, CallsAfterCloseAreRefused) {
  auto store = open();
  store->close();
  EXPECT_EQ(store->write([](Tx& tx) { return insert(tx, "a"); }).code(), Code::kUnavailable);
  EXPECT_EQ(store->read([](Connection&) { return Status(); }).code(), Code::kUnavailable);
}

}  // namespace
}  // namespace berth::metadata
