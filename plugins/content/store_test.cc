#include "store.h"

#include <sys/stat.h>

#include "testing.h"

namespace berth::content {
namespace {

namespace fs = std::filesystem;

TEST_F(StoreTest, KeepsABlobUnderItsDigest) {
  const std::string bytes = pattern(3000);
  const Digest digest = put(bytes);
  EXPECT_EQ(read_file(blob_path(digest)), bytes);

  const auto info = store_->info(digest);
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->size, 3000);
  EXPECT_NEAR(static_cast<double>(info->created.tv_sec), static_cast<double>(::time(nullptr)), 5);

  const auto blob = store_->open_blob(digest);
  ASSERT_TRUE(blob.ok());
  EXPECT_EQ(blob->size, 3000);
  EXPECT_EQ(::fcntl(blob->fd.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_EQ(::fcntl(blob->fd.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST_F(StoreTest, ModesKeepOthersOut) {
  const Digest digest = put("x");
  const auto mode = [](const std::string& path) {
    struct stat status {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
    return status.st_mode & 07777;
  };
  EXPECT_EQ(mode(root() + "/blobs"), 0700U);
  EXPECT_EQ(mode(root() + "/blobs/sha256"), 0700U);
  EXPECT_EQ(mode(root() + "/ingest"), 0700U);
  EXPECT_EQ(mode(blob_path(digest)), 0444U);
}

TEST_F(StoreTest, UnknownBlobsAreNotFound) {
  const Digest digest = digest_of("nowhere");
  EXPECT_EQ(store_->info(digest).status().code(), Code::kNotFound);
  EXPECT_EQ(store_->open_blob(digest).status().code(), Code::kNotFound);
  EXPECT_EQ(store_->remove(digest).code(), Code::kNotFound);
  const Digest other =
      digest_of("nowhere", DigestAlgorithm::kSha512);  // not even its directory exists
  EXPECT_EQ(store_->info(other).status().code(), Code::kNotFound);
  EXPECT_EQ(store_->open_blob(other).status().code(), Code::kNotFound);
  EXPECT_EQ(store_->remove(other).code(), Code::kNotFound);
}

TEST_F(StoreTest, ADeletedBlobStaysReadableForItsReaders) {
  const Digest digest = put("contents");
  const auto blob = store_->open_blob(digest);
  ASSERT_TRUE(store_->remove(digest).ok());
  EXPECT_EQ(store_->info(digest).status().code(), Code::kNotFound);
  char buffer[8];
  EXPECT_EQ(::pread(blob->fd.get(), buffer, sizeof buffer, 0), 8);
}

TEST_F(StoreTest, WalksInOrderAndSkipsWhatIsNoBlob) {
  std::vector<std::string> expected;
  for (int i = 0; i < 20; ++i) expected.push_back(put("blob " + std::to_string(i)).string());
  std::sort(expected.begin(), expected.end());
  write_file(root() + "/blobs/sha256/garbage", "x");
  fs::create_directory(root() + "/blobs/md5");
  fs::create_symlink("/etc/passwd", blob_path(digest_of("link")));
  fs::create_directory(blob_path(digest_of("directory")));

  std::vector<std::string> found;
  ASSERT_TRUE(store_
                  ->walk([&](const BlobInfo& blob) {
                    found.push_back(blob.digest.string());
                    return Status();
                  })
                  .ok());
  EXPECT_EQ(found, expected);
  EXPECT_EQ(log_.size(), 3U);
}

TEST_F(StoreTest, WalkStopsAtTheFirstError) {
  put("a");
  put("b");
  int visited = 0;
  const Status status = store_->walk([&](const BlobInfo&) {
    ++visited;
    return aborted("enough");
  });
  EXPECT_EQ(status.code(), Code::kAborted);
  EXPECT_EQ(visited, 1);
}

TEST_F(StoreTest, FollowsNoLink) {
  const Digest digest = digest_of("secret");
  fs::create_directories(root() + "/blobs/sha256");
  fs::create_symlink("/etc/passwd", blob_path(digest));
  EXPECT_EQ(store_->info(digest).status().code(), Code::kNotFound);
  EXPECT_FALSE(store_->open_blob(digest).ok());

  TemporaryDirectory elsewhere;
  write_file(elsewhere.path() + "/data", "precious");
  fs::create_directory_symlink(elsewhere.path(), ingest_path("ref"));
  EXPECT_FALSE(store_->begin("ref", 0, {}).ok());
  EXPECT_FALSE(store_->abort("ref").ok());
  EXPECT_EQ(read_file(elsewhere.path() + "/data"), "precious");
}

TEST_F(StoreTest, AFifoInABlobsPlaceDoesNotHang) {
  const Digest digest = digest_of("fifo");
  fs::create_directories(root() + "/blobs/sha256");
  ASSERT_EQ(::mkfifo(blob_path(digest).c_str(), 0600), 0);
  EXPECT_EQ(store_->open_blob(digest).status().code(), Code::kNotFound);
}

TEST_F(StoreTest, StartRemovesIngestsThatNobodyCanGoOnWith) {
  begin("good")->write("kept").ok();
  for (const char* ref : {"no-data", "no-ref", "empty-ref", "wrong-ref", "no-time"})
    begin(ref)->write("x").ok();
  fs::remove(ingest_path("no-data") + "/data");
  fs::remove(ingest_path("no-ref") + "/ref");
  write_file(ingest_path("empty-ref") + "/ref", "");
  write_file(ingest_path("wrong-ref") + "/ref", "good");
  write_file(ingest_path("no-time") + "/startedat", "yesterday");
  fs::create_directory(root() + "/ingest/lost+found");

  reopen();
  auto names = ingest_names();
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{std::string(digest_of("good").hex()), "lost+found"}));
  EXPECT_EQ(log_.size(), 6U);
  const auto status = store_->status("good");
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status->offset, 4);
}

// The directory of a real containerd, as its local store leaves it.
TEST_F(StoreTest, ReadsContainerdsLayout) {
  const std::string ref = "layer-sha256:abc";
  fs::create_directories(ingest_path(ref));
  write_file(ingest_path(ref) + "/ref", ref);
  write_file(ingest_path(ref) + "/data", "half of");
  write_file(ingest_path(ref) + "/startedat", "2023-11-14T23:13:20.123456789+01:00");
  write_file(ingest_path(ref) + "/updatedat", "2023-11-14T23:13:21+01:00");
  write_file(ingest_path(ref) + "/total", "12");
  const Digest digest = digest_of("a blob");
  fs::create_directories(root() + "/blobs/sha256");
  write_file(blob_path(digest), "a blob");

  reopen();
  EXPECT_TRUE(log_.empty());
  ASSERT_TRUE(store_->info(digest).ok());
  const auto status = store_->status(ref);
  ASSERT_TRUE(status.ok()) << status.status().to_string();
  EXPECT_EQ(status->ref, ref);
  EXPECT_EQ(status->offset, 7);
  EXPECT_EQ(status->total, 12);
  EXPECT_EQ(status->started.tv_sec, 1700000000);
  EXPECT_EQ(status->started.tv_nsec, 123456789);

  auto ingest = begin(ref, 12);
  EXPECT_EQ(ingest->offset(), 7);
  EXPECT_EQ(ingest->started().tv_sec, 1700000000);
  ASSERT_TRUE(ingest->write(" it.\n").ok());
  ASSERT_TRUE(ingest->commit(12, digest_of("half of it.\n")).ok());
}

TEST_F(StoreTest, AbortRemovesTheIngest) {
  begin("ref")->write("x").ok();
  ASSERT_TRUE(store_->abort("ref").ok());
  EXPECT_EQ(store_->status("ref").status().code(), Code::kNotFound);
  EXPECT_EQ(store_->abort("ref").code(), Code::kNotFound);
  EXPECT_TRUE(ingest_names().empty());
}

TEST_F(StoreTest, ListsIngestsByRef) {
  for (const char* ref : {"b", "a", "c"}) begin(ref)->write(ref).ok();
  const auto statuses = store_->statuses();
  ASSERT_TRUE(statuses.ok());
  ASSERT_EQ(statuses->size(), 3U);
  EXPECT_EQ((*statuses)[0].ref, "a");
  EXPECT_EQ((*statuses)[2].ref, "c");
}

TEST_F(StoreTest, OneDamagedIngestHidesNoOther) {
  begin("fine")->write("x").ok();
  begin("damaged")->write("x").ok();
  write_file(ingest_path("damaged") + "/updatedat", "?");
  const auto statuses = store_->statuses();
  ASSERT_TRUE(statuses.ok());
  ASSERT_EQ(statuses->size(), 1U);
  EXPECT_EQ((*statuses)[0].ref, "fine");
  EXPECT_EQ(store_->status("damaged").status().code(), Code::kDataLoss);
  EXPECT_EQ(log_.size(), 1U);
}

TEST(Store, MakesItsRoot) {
  TemporaryDirectory directory;
  const auto store = Store::open(directory.path() + "/a/b/c", [](const std::string&) {});
  ASSERT_TRUE(store.ok()) << store.status().to_string();
  EXPECT_TRUE(fs::is_directory(directory.path() + "/a/b/c/ingest"));
}

TEST(Store, SaysWhatIsInTheWay) {
  TemporaryDirectory directory;
  write_file(directory.path() + "/file", "");
  const auto store = Store::open(directory.path() + "/file/store", [](const std::string&) {});
  ASSERT_FALSE(store.ok());
  EXPECT_NE(store.status().message().find(directory.path() + "/file"), std::string::npos);
  EXPECT_EQ(Store::open("relative", [](const std::string&) {}).status().code(),
            Code::kInvalidArgument);
}

}  // namespace
}  // namespace berth::content
