// Level "serves", for content stores: how blobs are found, read, labelled, and what a restart
// leaves.
#include <fcntl.h>
#include <unistd.h>

#include "testing/must.h"
#include "validate/kits/content_kit.h"

namespace berth::ctl::validate {

namespace api = content_api;
using Names = std::vector<std::string>;
using berth::testing::must;

TEST_F(ContentKit, ReadsFromAnyOffset) {
  const std::string bytes = pattern(2'500'000);
  const auto size = static_cast<int64_t>(bytes.size());
  const std::string digest = digest_of(bytes).string();
  ASSERT_TRUE(put("ref", bytes).ok());
  const struct {
    int64_t offset, wanted;
  } ranges[] = {{0, 0},           {0, 1},         {0, size},     {0, size + 1000}, {1, 0},
                {1'048'575, 2},   {1000, 7},      {size - 1, 0}, {size - 1, 1},    {size - 1, 1000},
                {1'048'576, 100}, {2'000'000, 0}, {size, 0},     {size, 10}};
  for (const auto& [offset, wanted] : ranges) {
    const auto got = read(digest, offset, wanted);
    ASSERT_TRUE(got.ok()) << offset << ", " << wanted << ": " << got.status().to_string();
    const size_t count = wanted == 0 ? std::string::npos : static_cast<size_t>(wanted);
    EXPECT_TRUE(*got == bytes.substr(static_cast<size_t>(offset), count))
        << "at " << offset << ", " << wanted << " bytes (0 is all): gives " << got->size();
  }
  EXPECT_EQ(read(digest, size + 1).status().code(), Code::kOutOfRange);
}

TEST_F(ContentKit, ListsAllAndFilters) {
  constexpr int kBlobs = 130;
  Names digests;
  for (int i = 0; i < kBlobs; ++i) {
    const std::string bytes = "blob " + std::to_string(i);
    const Status stored = put("ref", bytes);
    ASSERT_TRUE(stored.ok()) << "after a commit, with the same ref: " << stored.to_string();
    digests.push_back(digest_of(bytes).string());
  }
  Names sorted = digests;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(must(list()), sorted);
  EXPECT_EQ(must(list({"digest==\"" + digests[7] + "\""})), Names{digests[7]});
  Names two = {digests[7], digests[8]};
  std::sort(two.begin(), two.end());
  EXPECT_EQ(must(list({"digest==\"" + digests[7] + "\"", "digest==\"" + digests[8] + "\""})), two);
  EXPECT_EQ(must(list({"digest==nothing"})), Names());
  EXPECT_EQ(list({"digest="}).status().code(), Code::kInvalidArgument);
}

TEST_F(ContentKit, DigestsThatAreNone) {
  const std::string good(64, 'a');
  for (const std::string& digest :
       {std::string(), std::string("sha256:"), std::string("sha256"), "sha256:" + good.substr(1),
        "sha256:" + good + "a", "sha256:" + good.substr(1) + "g", "md17:" + good,
        "sha256:../../" + good.substr(6), std::string("../../../etc/passwd"), good}) {
    EXPECT_EQ(info(digest).status().code(), Code::kInvalidArgument) << "Info of " << digest;
    EXPECT_EQ(read(digest).status().code(), Code::kInvalidArgument) << "Read of " << digest;
    EXPECT_EQ(remove(digest).code(), Code::kInvalidArgument) << "Delete of " << digest;
    if (digest.empty()) continue;  // nothing is expected
    auto writer = take("ref");
    ASSERT_NE(writer, nullptr);
    ASSERT_TRUE(writer->write("bytes", 0).ok());
    EXPECT_EQ(writer->commit(digest, 5).code(), Code::kInvalidArgument) << "Commit as " << digest;
  }
  expect_absent("sha256:" + good);
  EXPECT_EQ(remove("sha256:" + good).code(), Code::kNotFound);
}

TEST_F(ContentKit, OtherAlgorithmsAreDoneOrRefused) {
  const std::string bytes = pattern(1000);
  const std::string digest = digest_of(bytes, DigestAlgorithm::kSha512).string();
  BlobWriter writer(client_, "ref");
  const Status stated = writer.stat();
  ASSERT_TRUE(stated.ok()) << stated.to_string();
  ASSERT_TRUE(writer.append(bytes).ok());
  const Status committed = writer.commit(digest, 1000);
  if (committed.ok()) {
    expect_blob(digest, bytes);
    return;
  }
  EXPECT_TRUE(committed.code() == Code::kFailedPrecondition ||
              committed.code() == Code::kInvalidArgument ||
              committed.code() == Code::kUnimplemented)
      << committed.to_string();
}

TEST_F(ContentKit, LabelsAndMasks) {
  const std::string bytes = pattern(1000);
  const std::string digest = digest_of(bytes).string();
  ASSERT_TRUE(put("ref", bytes, {{"a", "1"}, {"b", "2"}}).ok());
  const auto labels = [&] {
    const auto found = info(digest);
    EXPECT_TRUE(found.ok()) << found.status().to_string();
    if (!found.ok()) return BlobWriter::Labels();
    return BlobWriter::Labels(found->labels().begin(), found->labels().end());
  };
  const auto update = [&](const BlobWriter::Labels& wanted, const Names& mask,
                          const std::string& of) -> Status {
    api::UpdateRequest request;
    api::UpdateResponse response;
    request.mutable_info()->set_digest(of);
    request.mutable_info()->mutable_labels()->insert(wanted.begin(), wanted.end());
    for (const std::string& path : mask) request.mutable_update_mask()->add_paths(path);
    return client_.Update(Context(), request, &response);
  };
  using Labels = BlobWriter::Labels;
  const Status first = update({{"a", "one"}}, {"labels.a"}, digest);
  if (first.code() == Code::kFailedPrecondition || first.code() == Code::kUnimplemented) {
    EXPECT_EQ(labels(), Labels()) << "labels that cannot be changed";
    GTEST_SKIP() << "this store keeps no labels: " << first.message();
  }
  ASSERT_TRUE(first.ok()) << first.to_string();
  EXPECT_EQ(labels(), (Labels{{"a", "one"}, {"b", "2"}})) << "a mask changes what it names";
  ASSERT_TRUE(update({}, {"labels.b"}, digest).ok());
  EXPECT_EQ(labels(), (Labels{{"a", "one"}})) << "what a mask names and the request lacks goes";
  ASSERT_TRUE(update({{"c", "3"}, {"d.e", "4"}}, {"labels"}, digest).ok());
  EXPECT_EQ(labels(), (Labels{{"c", "3"}, {"d.e", "4"}})) << "the mask \"labels\" replaces all";
  ASSERT_TRUE(update({{"c", "5"}}, {"labels.d.e"}, digest).ok());
  EXPECT_EQ(labels(), (Labels{{"c", "3"}})) << "a key may have dots";
  ASSERT_TRUE(update({{"f", "6"}}, {}, digest).ok());
  EXPECT_EQ(labels(), (Labels{{"f", "6"}})) << "no mask replaces all";
  EXPECT_EQ(must(list({"labels.f==6"})), Names{digest});
  EXPECT_EQ(must(list({"labels.c"})), Names());
  EXPECT_EQ(update({}, {"size"}, digest).code(), Code::kInvalidArgument);
  EXPECT_EQ(update({}, {"labels"}, digest_of("absent").string()).code(), Code::kNotFound);
  EXPECT_EQ(update({{"long", std::string(5000, 'x')}}, {}, digest).code(), Code::kInvalidArgument)
      << "key and value have 4096 bytes at most";
  RESTART_OR_RETURN();
  EXPECT_EQ(labels(), (Labels{{"f", "6"}}));
}

TEST_F(ContentKit, ADeletedBlobIsReadWholeOrNot) {
  const std::string bytes = pattern(24U << 20);
  const std::string digest = digest_of(bytes).string();
  ASSERT_TRUE(put("ref", bytes).ok());
  api::ReadContentRequest request;
  request.set_digest(digest);
  auto reader = client_.Read(Context(), request);
  api::ReadContentResponse response;
  ASSERT_TRUE(reader.Read(&response));
  std::string got = response.data();
  ASSERT_TRUE(remove(digest).ok());
  while (reader.Read(&response)) got += response.data();
  const Status ended = reader.Finish();
  EXPECT_TRUE(!ended.ok() || got == bytes)
      << "Read ends OK after " << got.size() << " bytes that are not the blob";
  expect_absent(digest);
}

TEST_F(ContentKit, EverythingIsThereAfterARestart) {
  const std::string bytes = pattern(1'500'000);
  const std::string half = bytes.substr(0, 900'000);
  const std::string digest = digest_of(bytes).string();
  ASSERT_TRUE(put("ref", "small").ok());
  ASSERT_TRUE(put("empty", "").ok());
  ASSERT_NO_FATAL_FAILURE(leave("under way", half));
  ASSERT_NO_FATAL_FAILURE(leave("given up", half));
  ASSERT_TRUE(abort("given up").ok());
  const Names blobs = must(list());
  RESTART_OR_RETURN();
  EXPECT_EQ(must(list()), blobs);
  expect_blob(digest_of("small").string(), "small");
  EXPECT_EQ(must(refs()), Names{"under way"});
  auto writer = take("under way");
  ASSERT_NE(writer, nullptr);
  ASSERT_EQ(writer->last().offset(), 900'000);
  ASSERT_TRUE(writer->append(bytes.substr(900'000)).ok());
  const Status committed = writer->commit(digest, 1'500'000);
  ASSERT_TRUE(committed.ok()) << committed.to_string();
  expect_blob(digest, bytes);
}

// Bytes of an ingest that changed while the plugin was away, or were lost: what is committed then
// has the digest that it says.
TEST_F(ContentKit, DamagedIngestsAreNotCommitted) {
  const std::string bytes = pattern(500'000);
  const std::string half = bytes.substr(0, 300'000);
  const std::string digest = digest_of(bytes).string();
  for (const bool cut : {false, true}) {
    ASSERT_NO_FATAL_FAILURE(leave("ref", half));
    plugin_->stop();
    const auto files = files_with(std::string_view(half).substr(0, 4096));
    if (files.empty()) GTEST_SKIP() << "the bytes of an ingest lie in no file of the plugin's";
    for (const auto& file : files) {
      const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
      ASSERT_GE(fd, 0);
      EXPECT_EQ(cut ? ::ftruncate(fd, 150'000) : ::pwrite(fd, "damage", 6, 2000) - 6, 0);
      ::close(fd);
    }
    RESTART_OR_RETURN();
    doing("resume a damaged ingest");
    BlobWriter writer(client_, "ref");
    Status outcome = writer.stat();
    if (outcome.ok()) {
      const auto at = static_cast<size_t>(writer.last().offset());
      ASSERT_LE(at, bytes.size());
      if (cut) {
        EXPECT_LE(at, 150'000U) << "it counts bytes that are lost";
      }
      if (at <= bytes.size()) outcome = writer.write(bytes.substr(at), writer.last().offset());
      if (outcome.ok()) outcome = writer.commit(digest, 500'000);
    }
    if (outcome.ok()) {
      expect_blob(digest, bytes);
      ASSERT_TRUE(remove(digest).ok());
    } else {
      expect_absent(digest);
      const Status aborted = abort("ref");
      EXPECT_TRUE(aborted.ok() || aborted.code() == Code::kNotFound) << aborted.to_string();
    }
  }
}

}  // namespace berth::ctl::validate
