#include <berth/file_tree.h>
#include <berth/snapshot_records.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cstdlib>
#include <set>
#include <thread>

namespace berth {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

class SnapshotRecordsTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/berth-records-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    reopen();
  }
  void TearDown() override {
    records_.reset();
    EXPECT_TRUE(remove_tree(folder_).ok());
  }
  void reopen() {
    records_.reset();
    auto opened = SnapshotRecords::open(folder_ + "/metadata.db");
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    records_ = std::move(opened).value();
  }

  Result<Snapshot> add(const std::string& key, const std::string& parent = "",
                       SnapshotKind kind = SnapshotKind::kActive, SnapshotLabels labels = {}) {
    BERTH_ASSIGN_OR_RETURN(Snapshot draft, records_->draft(kind, key, parent, std::move(labels)));
    BERTH_RETURN_IF_ERROR(records_->insert(draft));
    return draft;
  }
  // A committed snapshot.
  void layer(const std::string& name, const std::string& parent = "") {
    ASSERT_TRUE(add("extract " + name, parent).ok());
    ASSERT_TRUE(records_->commit("extract " + name, name, {10, 2}, {}).ok());
  }
  std::vector<std::string> names(const std::vector<std::string>& filters) {
    std::vector<std::string> found;
    const auto set = FilterSet::parse(filters);
    EXPECT_TRUE(set.ok()) << set.status().to_string();
    EXPECT_TRUE(records_
                    ->walk(*set,
                           [&](const SnapshotRecord& record) -> Status {
                             found.push_back(record.key);
                             return {};
                           })
                    .ok());
    return found;
  }

  std::string folder_;
  std::unique_ptr<SnapshotRecords> records_;
};

TEST_F(SnapshotRecordsTest, KeepsWhatWasInsertedAcrossReopening) {
  layer("base");
  const auto added = add("run", "base", SnapshotKind::kView, {{"a", "1"}, {"empty", ""}});
  ASSERT_TRUE(added.ok()) << added.status().to_string();
  reopen();
  const auto found = records_->snapshot("run");
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->record.id, added->record.id);
  EXPECT_EQ(found->record.parent, "base");
  EXPECT_EQ(found->record.kind, SnapshotKind::kView);
  EXPECT_THAT(found->record.labels, ElementsAre(Pair("a", "1")));
  EXPECT_EQ(found->record.created_ns, added->record.created_ns);
  EXPECT_EQ(found->record.updated_ns, added->record.updated_ns);
  EXPECT_THAT(found->parents, ElementsAre(1U));
}

TEST_F(SnapshotRecordsTest, ParentsAreTheWholeChainNearestFirst) {
  layer("1");
  layer("2", "1");
  layer("3", "2");
  const auto draft = records_->draft(SnapshotKind::kActive, "run", "3", {});
  ASSERT_TRUE(draft.ok());
  EXPECT_THAT(draft->parents, ElementsAre(3U, 2U, 1U));
  ASSERT_TRUE(records_->insert(*draft).ok());
  EXPECT_THAT(records_->snapshot("run")->parents, ElementsAre(3U, 2U, 1U));
}

TEST_F(SnapshotRecordsTest, DraftRefuses) {
  layer("base");
  ASSERT_TRUE(add("active").ok());
  const auto code = [&](const char* key, const char* parent) {
    return records_->draft(SnapshotKind::kActive, key, parent, {}).status();
  };
  EXPECT_EQ(code("", "").code(), Code::kInvalidArgument);
  EXPECT_EQ(code("new", "absent").code(), Code::kNotFound);
  EXPECT_THAT(code("new", "absent").message(), HasSubstr("\"absent\""));
  EXPECT_EQ(code("new", "active").code(), Code::kInvalidArgument);
  EXPECT_THAT(code("new", "active").message(), HasSubstr("is active"));
  EXPECT_EQ(code("active", "").code(), Code::kAlreadyExists);
  EXPECT_EQ(code("base", "").code(), Code::kAlreadyExists);
}

TEST_F(SnapshotRecordsTest, InsertChecksAgainWhatChangedSinceTheDraft) {
  layer("base");
  const auto first = records_->draft(SnapshotKind::kActive, "run", "base", {});
  const auto second = records_->draft(SnapshotKind::kActive, "run", "base", {});
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_NE(first->record.id, second->record.id);
  ASSERT_TRUE(records_->insert(*first).ok());
  EXPECT_EQ(records_->insert(*second).code(), Code::kAlreadyExists);
  ASSERT_TRUE(records_->remove("run").ok());
  ASSERT_TRUE(records_->remove("base").ok());
  EXPECT_EQ(records_->insert(*second).code(), Code::kNotFound);
  // Another snapshot of that name is no parent for a tree based on the first.
  layer("base");
  EXPECT_EQ(records_->insert(*second).code(), Code::kNotFound);
}

TEST_F(SnapshotRecordsTest, IdsAreNeverGivenTwice) {
  ASSERT_EQ(add("a")->record.id, 1U);
  ASSERT_TRUE(records_->remove("a").ok());
  reopen();
  EXPECT_EQ(add("a")->record.id, 2U);
  records_->reserve_ids(10);
  records_->reserve_ids(4);
  EXPECT_EQ(add("b")->record.id, 11U);
}

TEST_F(SnapshotRecordsTest, CommitRenamesReplacesLabelsAndRecordsUsage) {
  const auto added = add("key", "", SnapshotKind::kActive, {{"old", "1"}});
  ASSERT_TRUE(added.ok());
  ASSERT_TRUE(records_->commit("key", "name", {4096, 3}, {{"new", "2"}}).ok());
  EXPECT_EQ(records_->stat("key").status().code(), Code::kNotFound);
  const auto committed = records_->stat("name");
  ASSERT_TRUE(committed.ok());
  EXPECT_EQ(committed->id, added->record.id);
  EXPECT_EQ(committed->kind, SnapshotKind::kCommitted);
  EXPECT_EQ(committed->usage.bytes, 4096);
  EXPECT_EQ(committed->usage.inodes, 3);
  EXPECT_THAT(committed->labels, ElementsAre(Pair("new", "2")));
  EXPECT_GE(committed->created_ns, added->record.created_ns);
}

TEST_F(SnapshotRecordsTest, CommitRefuses) {
  layer("base");
  ASSERT_TRUE(add("active").ok());
  ASSERT_TRUE(add("view", "base", SnapshotKind::kView).ok());
  EXPECT_EQ(records_->commit("absent", "x", {}, {}).code(), Code::kNotFound);
  EXPECT_EQ(records_->commit("active", "base", {}, {}).code(), Code::kAlreadyExists);
  EXPECT_EQ(records_->commit("active", "active", {}, {}).code(), Code::kAlreadyExists);
  EXPECT_EQ(records_->commit("view", "x", {}, {}).code(), Code::kFailedPrecondition);
  EXPECT_EQ(records_->commit("base", "x", {}, {}).code(), Code::kFailedPrecondition);
  EXPECT_EQ(records_->commit("active", "", {}, {}).code(), Code::kInvalidArgument);
  EXPECT_EQ(records_->stat("active")->kind, SnapshotKind::kActive);
}

TEST_F(SnapshotRecordsTest, RemoveNeedsChildrenGone) {
  layer("1");
  layer("2", "1");
  ASSERT_TRUE(add("run", "2").ok());
  const Status parent = records_->remove("2").status();
  EXPECT_EQ(parent.code(), Code::kFailedPrecondition);
  EXPECT_THAT(parent.message(), HasSubstr("\"run\""));
  EXPECT_EQ(records_->remove("1").status().code(), Code::kFailedPrecondition);
  EXPECT_EQ(records_->remove("absent").status().code(), Code::kNotFound);
  EXPECT_EQ(records_->remove("run")->kind, SnapshotKind::kActive);
  EXPECT_TRUE(records_->remove("2").ok());
  EXPECT_TRUE(records_->remove("1").ok());
  EXPECT_THAT(names({}), ElementsAre());
}

TEST_F(SnapshotRecordsTest, UpdateChangesLabelsAlone) {
  const auto added =
      add("a", "", SnapshotKind::kActive, {{"keep", "1"}, {"change", "1"}, {"drop", "1"}});
  ASSERT_TRUE(added.ok());
  const std::vector<std::string> some = {"labels.change", "labels.drop", "labels.with.dots"};
  const auto updated =
      records_->update("a", {{"change", "2"}, {"with.dots", "3"}, {"unnamed", "4"}}, some);
  ASSERT_TRUE(updated.ok()) << updated.status().to_string();
  EXPECT_THAT(updated->labels,
              ElementsAre(Pair("change", "2"), Pair("keep", "1"), Pair("with.dots", "3")));
  EXPECT_THAT(records_->stat("a")->labels, updated->labels);
  EXPECT_EQ(updated->created_ns, added->record.created_ns);
  EXPECT_GT(updated->updated_ns, added->record.updated_ns);
  EXPECT_EQ(records_->stat("a")->updated_ns, updated->updated_ns);

  EXPECT_THAT(records_->update("a", {{"x", "1"}}, std::vector<std::string>{"labels"})->labels,
              ElementsAre(Pair("x", "1")));
  EXPECT_THAT(records_->update("a", {{"y", "1"}}, {})->labels, ElementsAre(Pair("y", "1")));
}

TEST_F(SnapshotRecordsTest, UpdateRefuses) {
  ASSERT_TRUE(add("a", "", SnapshotKind::kActive, {{"x", "1"}}).ok());
  for (const char* path : {"parent", "name", "kind", "label", "labelsx"}) {
    const std::vector<std::string> paths = {"labels", path};
    const Status refused = records_->update("a", {}, paths).status();
    EXPECT_EQ(refused.code(), Code::kInvalidArgument) << path;
    EXPECT_THAT(refused.message(), HasSubstr(path));
  }
  EXPECT_EQ(records_->update("absent", {}, {}).status().code(), Code::kNotFound);
  EXPECT_THAT(records_->stat("a")->labels, ElementsAre(Pair("x", "1")));
}

TEST_F(SnapshotRecordsTest, WalkIsOrderedAndFiltered) {
  layer("base");
  ASSERT_TRUE(add("b", "base", SnapshotKind::kActive, {{"com.example/x", "1"}}).ok());
  ASSERT_TRUE(add("a", "base", SnapshotKind::kView).ok());
  EXPECT_THAT(names({}), ElementsAre("a", "b", "base"));
  EXPECT_THAT(names({"kind==active"}), ElementsAre("b"));
  EXPECT_THAT(names({"kind==view", "kind==committed"}), ElementsAre("a", "base"));
  EXPECT_THAT(names({"parent==base"}), ElementsAre("a", "b"));
  EXPECT_THAT(names({"parent==base,kind==view"}), ElementsAre("a"));
  EXPECT_THAT(names({"name~=^b"}), ElementsAre("b", "base"));
  EXPECT_THAT(names({"labels.\"com.example/x\""}), ElementsAre("b"));
  EXPECT_THAT(names({"labels.\"com.example/x\"==2"}), ElementsAre());
}

TEST_F(SnapshotRecordsTest, WalkHoldsNothingWhileItCalls) {
  for (int i = 0; i < 250; ++i) ASSERT_TRUE(add("key-" + std::to_string(1000 + i)).ok());
  int visited = 0;
  const Status walked = records_->walk(FilterSet(), [&](const SnapshotRecord& record) -> Status {
    ++visited;
    EXPECT_TRUE(records_->stat(record.key).ok());
    if (visited % 50 == 0) {
      EXPECT_TRUE(records_->update(record.key, {{"seen", "1"}}, {}).ok());
      std::thread([&] { EXPECT_TRUE(records_->remove(record.key).ok()); }).join();
    }
    return {};
  });
  EXPECT_TRUE(walked.ok());
  EXPECT_EQ(visited, 250);
  EXPECT_EQ(names({}).size(), 245U);
}

TEST_F(SnapshotRecordsTest, WalkEndsWithTheVisitorsError) {
  ASSERT_TRUE(add("a").ok());
  ASSERT_TRUE(add("b").ok());
  int visited = 0;
  const Status walked = records_->walk(FilterSet(), [&](const SnapshotRecord&) -> Status {
    ++visited;
    return cancelled("enough");
  });
  EXPECT_EQ(walked.code(), Code::kCancelled);
  EXPECT_EQ(visited, 1);
}

TEST_F(SnapshotRecordsTest, ConcurrentInsertsGetIdsOfTheirOwn) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        EXPECT_TRUE(add(std::to_string(t) + "-" + std::to_string(i)).ok());
      }
    });
  }
  for (auto& thread : threads) thread.join();
  const auto all = records_->all();
  ASSERT_TRUE(all.ok());
  std::set<uint64_t> ids;
  for (const auto& record : *all) ids.insert(record.id);
  EXPECT_EQ(ids.size(), 80U);
}

TEST_F(SnapshotRecordsTest, RefusesAFormatOfTheFuture) {
  const std::string path = folder_ + "/metadata.db";
  records_.reset();
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, "PRAGMA user_version=2", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
  const auto opened = SnapshotRecords::open(path);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(opened.status().message(), HasSubstr("format 2"));
}

}  // namespace
}  // namespace berth
