// The database on a file system that runs full.
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <atomic>

#include "fixture.h"
#include "testing/small_disk.h"

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

// An ext4 on which not a byte more can be written.
class FullToTheLastBlock : public MetadataTest {
 protected:
  void SetUp() override {
    auto disk = SmallDisk::make("ext4");
    if (disk.status().code() == Code::kUnimplemented) GTEST_SKIP() << disk.status().message();
    ASSERT_TRUE(disk.ok()) << disk.status().to_string();
    disk_ = std::move(*disk);
    root_ = disk_->path();
    prepare_database();
    MetadataTest::SetUp();
  }
  virtual void prepare_database() {}
  // Adds until not even a small row goes in.
  void use_up() {
    disk_->fill();
    for (int64_t size : {100'000, 1000}) {
      Status status;
      for (int i = 0; status.ok() && i < 1000; ++i) {
        status = store_->write([&](Tx& tx) {
          return run(tx, "INSERT INTO namespaces VALUES (?1, ?2)",
                     "use-up-" + std::to_string(size) + "-" + std::to_string(i),
                     std::string(static_cast<size_t>(size), 'x'));
        });
      }
      ASSERT_EQ(status.code(), Code::kResourceExhausted) << status.to_string();
      EXPECT_NE(status.message().find("remove images"), std::string::npos) << status.message();
    }
  }
  static Labels big_label() {
    Labels labels;
    labels["label"] = std::string(4000, 'x');
    return labels;
  }
  int64_t rows(std::string_view sql) {
    int64_t count = -1;
    const Status read = store_->read([&](Connection& db) -> Status {
      Query query(db, sql);
      BERTH_RETURN_IF_ERROR(query.next().status());
      count = query.integer(0);
      return {};
    });
    EXPECT_TRUE(read.ok()) << read.to_string();
    return count;
  }

  std::unique_ptr<SmallDisk> disk_;
};

TEST_F(FullToTheLastBlock, EverythingCanBeRemoved) {
  ASSERT_TRUE(write_blob(in("default"), "bytes").ok());
  ASSERT_TRUE(create_image("image", digest("bytes")).ok());
  ASSERT_TRUE(prepare("active", "").ok());
  ASSERT_TRUE(commit("layer", "active").ok());
  ASSERT_TRUE(prepare("rootfs", "layer").ok());
  ASSERT_TRUE(create_container("container", "rootfs").ok());
  ASSERT_TRUE(create_lease("lease").ok());
  use_up();
  EXPECT_EQ(create_container("more", "", big_label()).code(), Code::kResourceExhausted);
  containerd::services::containers::v1::DeleteContainerRequest container;
  container.set_id("container");
  google::protobuf::Empty nothing;
  Context context = in("default");
  Status status = containers_->Delete(context, container, &nothing);
  EXPECT_TRUE(status.ok()) << status.to_string();
  for (const Status& removed : {remove_snapshot("rootfs"), remove_snapshot("layer"),
                                delete_image("image"), delete_lease("lease")}) {
    EXPECT_TRUE(removed.ok()) << removed.to_string();
  }
  collect();
  EXPECT_TRUE(blobs_.blobs.empty());
  EXPECT_TRUE(snapshotter_->snapshots.empty());
  disk_->make_room();
  status = create_container("another", "");
  EXPECT_TRUE(status.ok()) << status.to_string();
}

TEST_F(FullToTheLastBlock, RemovalsAreNotRefusedForWhatIsAddedBesideThem) {
  constexpr int kThreads = 8;
  constexpr int kEach = 20;
  for (int i = 0; i < kThreads * kEach; ++i) {
    ASSERT_TRUE(create_lease("l" + std::to_string(i)).ok());
  }
  use_up();
  std::atomic<int> added = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kEach; ++i) {
        const Status removed = delete_lease("l" + std::to_string(thread * kEach + i));
        EXPECT_TRUE(removed.ok()) << removed.to_string();
      }
    });
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kEach; ++i) {
        const Status created =
            create_lease("new-" + std::to_string(thread * kEach + i), big_label());
        if (created.ok()) {
          ++added;
        } else {
          EXPECT_EQ(created.code(), Code::kResourceExhausted) << created.to_string();
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(rows("SELECT count(*) FROM leases"), added);
}

TEST_F(FullToTheLastBlock, ARemovalMayGrowTheDatabase) {
  use_up();
  const auto note = [&](Tx& tx) -> Status {
    for (int i = 0; i < 1000; ++i) {
      BERTH_RETURN_IF_ERROR(
          run(tx, "INSERT INTO discarded VALUES ('content', '', ?1)", digest(std::to_string(i))));
    }
    return {};
  };
  EXPECT_EQ(store_->write(note).code(), Code::kResourceExhausted);
  const Status noted = store_->write([&](Tx& tx) {
    tx.mark_removal();
    return note(tx);
  });
  EXPECT_TRUE(noted.ok()) << noted.to_string();
  EXPECT_EQ(rows("SELECT count(*) FROM discarded"), 1000);
}

class MuchToCollect : public FullToTheLastBlock {
 protected:
  static constexpr int kBlobs = 10'000;
  void prepare_database() override {
    const std::string path = root_ + "/metadata.db";
    auto store = Store::open(path, {});
    ASSERT_TRUE(store.ok()) << store.status().to_string();
    const Status filled = (*store)->write([&](Tx& tx) -> Status {
      for (int i = 0; i < kBlobs; ++i) {
        const std::string name = digest(std::to_string(i));
        blobs_.blobs[name] = "x";
        BERTH_RETURN_IF_ERROR(
            run(tx, "INSERT INTO content VALUES ('default', ?1, 1, '{}', 1, 1, 0)", name));
      }
      return {};
    });
    ASSERT_TRUE(filled.ok()) << filled.to_string();
    (*store)->close();
    ::unlink((path + "-wal").c_str());  // which has much room now
  }
};

// Neither the log nor the room that is kept is enough for all of it at once.
TEST_F(MuchToCollect, GoesInPieces) {
  use_up();
  EXPECT_EQ(collect()["content"], static_cast<uint64_t>(kBlobs));
  EXPECT_TRUE(blobs_.blobs.empty());
  EXPECT_EQ(rows("SELECT count(*) FROM content"), 0);
  EXPECT_EQ(rows("SELECT count(*) FROM discarded"), 0);
}

// What is noted of earlier removals has used up the room; its end makes some again.
TEST_F(MuchToCollect, BeginsWithWhatWasNotedBefore) {
  use_up();
  // The last ones take what is left of the very page where the first blob would be noted.
  for (const int bulk : {3000, 0}) {
    Status noted;
    for (int i = 0; noted.ok(); ++i) {
      const std::string number = std::to_string((bulk > 0 ? 0 : 100'000) + i);
      const std::string name = "sha256:" + std::string(64 - number.size(), '0') + number;
      noted = store_->write([&](Tx& tx) {
        tx.mark_removal();
        return run(tx, "INSERT INTO discarded VALUES ('content', '', ?1 || hex(zeroblob(?2)))",
                   name, bulk / 2);
      });
    }
    ASSERT_EQ(noted.code(), Code::kResourceExhausted) << noted.to_string();
  }
  EXPECT_EQ(collect()["content"], static_cast<uint64_t>(kBlobs));
  EXPECT_EQ(rows("SELECT count(*) FROM content"), 0);
  EXPECT_EQ(rows("SELECT count(*) FROM discarded"), 0);
}

}  // namespace
}  // namespace berth::metadata
