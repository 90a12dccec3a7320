// A process that makes, commits and removes snapshots is killed at any point: what it was told to
// be done is there, and nothing half-made stays.
#include <berth/file_tree.h>
#include <berth/snapshotter.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <set>

namespace berth {
namespace {

namespace fs = std::filesystem;

// Committed trees in a folder of their own, as with btrfs: the longest way that a commit can take.
class Directories final : public Snapshotter {
 public:
  using Snapshotter::Snapshotter;

 protected:
  std::vector<std::string> folders() const override { return {"active", "done"}; }
  std::string place(const SnapshotRecord& record) const override {
    return (record.kind == SnapshotKind::kCommitted ? "done/" : "active/") +
           std::to_string(record.id);
  }
  Status make_tree(const Snapshot& snapshot) override {
    return make_directories(absolute(place(snapshot.record)) + "/sub", 0700);
  }
  Result<MountList> mounts_of(const Snapshot&) const override { return MountList(); }
  Status commit_tree(const Snapshot&, const SnapshotRecord& committed) override {
    return make_directories(absolute(place(committed)) + "/sub", 0700);
  }
};

std::unique_ptr<Directories> open_in(const std::string& folder) {
  SnapshotterOptions options;
  options.root = folder + "/root";
  options.sync = false;  // the kernel survives
  auto snapshotter = std::make_unique<Directories>(options);
  EXPECT_TRUE(snapshotter->open().ok());
  return snapshotter;
}

// Commits layer after layer, removes every third, tells of each through the pipe: "+name\n",
// "-name\n".
[[noreturn]] void work(const std::string& folder, int round, int pipe) {
  const auto snapshotter = open_in(folder);
  Context ctx;
  google::protobuf::Empty empty;
  for (int i = 0;; ++i) {
    const std::string name = "layer-" + std::to_string(round) + "-" + std::to_string(i);
    snapshots_v1::PrepareSnapshotRequest prepare;
    snapshots_v1::PrepareSnapshotResponse prepared;
    prepare.set_key("key " + name);
    if (!snapshotter->Prepare(ctx, prepare, &prepared).ok()) ::_exit(1);
    snapshots_v1::CommitSnapshotRequest commit;
    commit.set_key("key " + name);
    commit.set_name(name);
    if (!snapshotter->Commit(ctx, commit, &empty).ok()) ::_exit(2);
    std::string line = "+" + name + "\n";
    if (::write(pipe, line.data(), line.size()) < 0) ::_exit(3);
    if (i % 3 != 0) continue;
    line[0] = '?';  // from here on it may be there or not
    if (::write(pipe, line.data(), line.size()) < 0) ::_exit(3);
    snapshots_v1::RemoveSnapshotRequest remove;
    remove.set_key(name);
    if (!snapshotter->Remove(ctx, remove, &empty).ok()) ::_exit(4);
    line[0] = '-';
    if (::write(pipe, line.data(), line.size()) < 0) ::_exit(3);
    if (!snapshotter->Cleanup(ctx, {}, &empty).ok()) ::_exit(5);
  }
}

TEST(SnapshotterCrash, KilledAtAnyPoint) {
  char name[] = "/tmp/berth-crash-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  const std::string folder = name;
  const berth::Cleanup cleanup([&] { EXPECT_TRUE(remove_tree(folder).ok()); });
  std::set<std::string> present;
  std::set<std::string> absent;
  std::mt19937 random(20);
  for (int round = 0; round < 12; ++round) {
    int pipe[2];
    ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
    const UniqueFd reader(pipe[0]);
    UniqueFd writer(pipe[1]);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) work(folder, round, writer.get());
    writer.reset();
    std::string told;
    char buffer[4096];
    // At least one layer, then some time more.
    ssize_t got = ::read(reader.get(), buffer, sizeof buffer);
    ASSERT_GT(got, 0) << "the child ended by itself";
    told.append(buffer, static_cast<size_t>(got));
    ::usleep(static_cast<useconds_t>(random() % 60'000));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended with " << WEXITSTATUS(status);
    while ((got = ::read(reader.get(), buffer, sizeof buffer)) > 0) {
      told.append(buffer, static_cast<size_t>(got));
    }
    for (size_t at = 0; at < told.size();) {
      const size_t end = told.find('\n', at);
      if (end == std::string::npos) break;
      const std::string layer = told.substr(at + 1, end - at - 1);
      if (told[at] == '+') present.insert(layer);
      if (told[at] != '+') present.erase(layer);
      if (told[at] == '-') absent.insert(layer);
      at = end + 1;
    }

    const auto snapshotter = open_in(folder);
    std::set<std::string> names;
    ASSERT_TRUE(snapshotter
                    ->walk(std::vector<std::string>(),
                           [&](const snapshots_v1::Info& info) -> Status {
                             names.insert(info.name());
                             return {};
                           })
                    .ok());
    for (const std::string& layer : present) EXPECT_TRUE(names.contains(layer)) << layer;
    for (const std::string& layer : absent) EXPECT_FALSE(names.contains(layer)) << layer;
    size_t found = 0;
    for (const char* sub : {"/root/active", "/root/done"}) {
      for (const auto& entry : fs::directory_iterator(folder + sub)) {
        ++found;
        EXPECT_TRUE(fs::exists(entry.path() / "sub"));
      }
    }
    EXPECT_EQ(found, names.size()) << "trees and records differ";
  }
  EXPECT_FALSE(present.empty());
  EXPECT_FALSE(absent.empty());
}

}  // namespace
}  // namespace berth
