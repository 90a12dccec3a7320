// Life and codes of snapshots, alone and several at once.
#include <unistd.h>

#include <atomic>
#include <thread>

#include "testing/must.h"
#include "testing/snapshotter_suite.h"
#include "testing/suite_files.h"

namespace berth::testing {

TEST_P(SnapshotterSuite, LifeOfASnapshot) {
  mounted(prepare("active"), [](const std::string& root) { write(root + "/foo", "foo\n"); });
  auto again = mounts("active");
  mounted(again, [](const std::string& root) { EXPECT_EQ(read(root + "/foo"), "foo\n"); });
  EXPECT_EQ(must(stat("active")).kind(), snapshots_v1::ACTIVE);
  ASSERT_TRUE(commit("layer", "active", {{"a", "b"}}).ok());
  EXPECT_EQ(stat("active").status().code(), Code::kNotFound);
  const auto info = stat("layer");
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->kind(), snapshots_v1::COMMITTED);
  EXPECT_EQ(info->parent(), "");
  EXPECT_EQ(info->labels().at("a"), "b");
  EXPECT_GT(info->created_at().seconds(), 1'600'000'000);

  mounted(prepare("next", "layer"), [](const std::string& root) {
    EXPECT_EQ(read(root + "/foo"), "foo\n");
    write(root + "/bar", "bar\n");
  });
  EXPECT_EQ(must(stat("next")).parent(), "layer");
  mounted(view("look", "layer"), [](const std::string& root) {
    EXPECT_EQ(read(root + "/foo"), "foo\n");
    EXPECT_FALSE(exists(root + "/bar")) << "a sibling's file";
  });
  for (const char* key : {"look", "next", "layer"}) EXPECT_TRUE(remove(key).ok()) << key;
  expect_nothing_left();
}

TEST_P(SnapshotterSuite, Refusals) {
  layer("base", "", [](const std::string&) {});
  ASSERT_TRUE(prepare("active", "base").ok());
  ASSERT_TRUE(view("view", "base").ok());
  for (const char* key : {"active", "view", "base"}) {
    EXPECT_EQ(prepare(key, "base").status().code(), Code::kAlreadyExists) << key;
    EXPECT_EQ(view(key, "base").status().code(), Code::kAlreadyExists) << key;
  }
  EXPECT_EQ(prepare("x", "absent").status().code(), Code::kNotFound);
  EXPECT_EQ(prepare("x", "active").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(view("x", "view").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(prepare("").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(commit("x", "absent").code(), Code::kNotFound);
  EXPECT_EQ(commit("base", "active").code(), Code::kAlreadyExists);
  EXPECT_EQ(commit("x", "view").code(), Code::kFailedPrecondition);
  EXPECT_EQ(commit("x", "base").code(), Code::kFailedPrecondition);
  EXPECT_EQ(mounts("absent").status().code(), Code::kNotFound);
  EXPECT_EQ(mounts("base").status().code(), Code::kFailedPrecondition);
  EXPECT_EQ(remove("absent").code(), Code::kNotFound);
  EXPECT_EQ(remove("base").code(), Code::kFailedPrecondition);
  EXPECT_EQ(stat("absent").status().code(), Code::kNotFound);
  EXPECT_EQ(usage("absent").status().code(), Code::kNotFound);
  EXPECT_EQ(names(), (std::vector<std::string>{"active", "base", "view"}));
  mounted(mounts("active"), [](const std::string&) {});
}

TEST_P(SnapshotterSuite, RemovalOrders) {
  layer("1", "", [](const std::string& root) { write(root + "/1", "x"); });
  layer("2", "1", [](const std::string& root) { write(root + "/2", "x"); });
  layer("3", "2", [](const std::string& root) { write(root + "/3", "x"); });
  ASSERT_TRUE(view("view", "1").ok());
  EXPECT_EQ(remove("1").code(), Code::kFailedPrecondition);
  EXPECT_EQ(remove("2").code(), Code::kFailedPrecondition);
  mounted(prepare("run", "3"), [](const std::string& root) { EXPECT_EQ(read(root + "/1"), "x"); });
  EXPECT_EQ(remove("3").code(), Code::kFailedPrecondition);
  EXPECT_TRUE(remove("run").ok());
  EXPECT_TRUE(remove("3").ok());
  EXPECT_TRUE(remove("2").ok());
  EXPECT_EQ(remove("1").code(), Code::kFailedPrecondition);
  mounted(mounts("view"), [](const std::string& root) { EXPECT_EQ(read(root + "/1"), "x"); });
  EXPECT_TRUE(remove("view").ok());
  EXPECT_TRUE(remove("1").ok());
  EXPECT_EQ(remove("1").code(), Code::kNotFound);
  // The names are free again at once.
  layer("1", "", [](const std::string& root) { EXPECT_FALSE(exists(root + "/1")); });
  EXPECT_TRUE(remove("1").ok());
  expect_nothing_left();
}

TEST_P(SnapshotterSuite, OneOfManyGetsAKey) {
  layer("base", "", [](const std::string& root) { write(root + "/file", "x"); });
  std::atomic<int> made = 0;
  std::atomic<int> refused = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      const auto same = prepare("same", "base");
      if (same.ok()) ++made;
      if (same.status().code() == Code::kAlreadyExists) ++refused;
      EXPECT_TRUE(prepare("own-" + std::to_string(t), "base").ok());
      EXPECT_TRUE(commit("layer-" + std::to_string(t), "own-" + std::to_string(t)).ok());
      // Removes what belongs to no record; must not touch what others are making.
      Context ctx;
      google::protobuf::Empty empty;
      EXPECT_TRUE(snapshotter_->Cleanup(ctx, {}, &empty).ok());
      EXPECT_TRUE(prepare("run-" + std::to_string(t), "layer-" + std::to_string(t)).ok());
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(made, 1);
  EXPECT_EQ(refused, 7);
  for (int t = 0; t < 8; ++t) {
    mounted(mounts("run-" + std::to_string(t)),
            [](const std::string& root) { EXPECT_EQ(read(root + "/file"), "x"); });
  }
  mounted(mounts("same"), [](const std::string& root) { EXPECT_EQ(read(root + "/file"), "x"); });
}

TEST_P(SnapshotterSuite, OneOfManyCommits) {
  mounted(prepare("active"), [](const std::string& root) { write(root + "/file", "x"); });
  std::atomic<int> committed = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      const Status status = commit("layer-" + std::to_string(t), "active");
      if (status.ok()) {
        ++committed;
      } else {
        EXPECT_EQ(status.code(), Code::kNotFound) << status.to_string();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(committed, 1);
  const auto layers = names();
  ASSERT_EQ(layers.size(), 1U);
  mounted(view("view", layers[0]),
          [](const std::string& root) { EXPECT_EQ(read(root + "/file"), "x"); });
  EXPECT_TRUE(remove("view").ok());
  EXPECT_TRUE(remove(layers[0]).ok());
  expect_nothing_left();
}

TEST_P(SnapshotterSuite, WalkFiltersAndAllowsCalls) {
  layer("base", "", [](const std::string&) {});
  ASSERT_TRUE(prepare("a", "base", {{"app", "web"}}).ok());
  ASSERT_TRUE(prepare("b", "base").ok());
  ASSERT_TRUE(view("v", "base").ok());
  using Names = std::vector<std::string>;
  EXPECT_EQ(names(), (Names{"a", "b", "base", "v"}));
  EXPECT_EQ(names({"kind==active"}), (Names{"a", "b"}));
  EXPECT_EQ(names({"labels.app==web", "kind==view"}), (Names{"a", "v"}));
  EXPECT_EQ(names({"parent==base,name!=a"}), (Names{"b", "v"}));
  const Names broken = {"name=~x"};
  EXPECT_EQ(walk(broken, [](const snapshots_v1::Info&) { return Status(); }).code(),
            Code::kInvalidArgument);
  int visited = 0;
  const Status walked = walk(Names(), [&](const snapshots_v1::Info& info) -> Status {
    ++visited;
    const auto found = stat(info.name());
    EXPECT_TRUE(found.ok());
    EXPECT_EQ(found->parent(), info.parent());
    EXPECT_TRUE(prepare("made by " + info.name()).ok());
    return visited < 4 ? Status() : cancelled("enough");
  });
  EXPECT_EQ(walked.code(), Code::kCancelled);
}

TEST_P(SnapshotterSuite, UsageGrowsAndIsRecorded) {
  constexpr int64_t kSize = 4 << 20;
  const auto fill = [&](const std::string& path) { write(path, std::string(kSize, 'x')); };
  SnapshotUsage empty;
  mounted(prepare("active"), [&](const std::string& root) {
    const auto before = usage("active");
    ASSERT_TRUE(before.ok()) << before.status().to_string();
    empty = *before;
    fill(root + "/file");
    EXPECT_EQ(::link((root + "/file").c_str(), (root + "/link").c_str()), 0);
    ::sync();
  });
  const auto active = usage("active");
  ASSERT_TRUE(active.ok());
  EXPECT_EQ(active->inodes, empty.inodes + 1);
  EXPECT_GE(active->bytes, empty.bytes + kSize);
  EXPECT_LT(active->bytes, empty.bytes + kSize + kSize / 2);
  ASSERT_TRUE(commit("layer", "active").ok());
  const auto committed = usage("layer");
  ASSERT_TRUE(committed.ok());
  EXPECT_EQ(committed->inodes, active->inodes);
  EXPECT_GE(committed->bytes, kSize);
  ASSERT_TRUE(view("view", "layer").ok());
  EXPECT_TRUE(usage("view").ok());
}

TEST_P(SnapshotterSuite, EverythingIsThereAfterARestart) {
  layer("1", "", [](const std::string& root) { write(root + "/file", "1"); });
  layer("2", "1", [](const std::string& root) { write(root + "/file", "2"); });
  mounted(prepare("run", "2", {{"a", "b"}}),
          [](const std::string& root) { write(root + "/run", "x"); });
  ASSERT_TRUE(view("view", "1").ok());
  ASSERT_TRUE(prepare("gone").ok());
  ASSERT_TRUE(remove("gone").ok());  // its tree is still on disk
  reopen();
  if (IsSkipped()) return;
  EXPECT_EQ(names(), (std::vector<std::string>{"1", "2", "run", "view"}));
  EXPECT_EQ(must(stat("run")).labels().at("a"), "b");
  mounted(mounts("run"), [](const std::string& root) {
    EXPECT_EQ(read(root + "/file"), "2");
    EXPECT_EQ(read(root + "/run"), "x");
  });
  mounted(mounts("view"), [](const std::string& root) { EXPECT_EQ(read(root + "/file"), "1"); });
  ASSERT_TRUE(prepare("new", "2").ok());
  for (const char* key : {"new", "run", "view", "2", "1"}) EXPECT_TRUE(remove(key).ok()) << key;
  warnings_.clear();  // of the tree found at the start
  expect_nothing_left();
}

}  // namespace berth::testing
