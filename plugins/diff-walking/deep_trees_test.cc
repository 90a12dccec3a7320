// Trees deeper than the stack of a handler, the descriptors of a process, and the longest path that
// a layer can name. Needs root.
#include <unistd.h>

#include "apply.h"
#include "compare.h"
#include "tar_reader.h"
#include "testing.h"
#include "testing/deep_tree.h"
#include "testing/handler_stack.h"

namespace berth::diff_walking {
namespace {

using berth::testing::has_deep_tree;
using berth::testing::make_deep_tree;
using berth::testing::on_handler_stack;
using testing::bytes_of;
using testing::exists;
using testing::RawTar;
using testing::read_file;
using testing::StringSink;
using testing::TempDir;
using testing::write_file;

constexpr int kNamed = 1900;    // levels of which a path just so is no longer than one may be
constexpr int kUnnamed = 2500;  // and more than that

std::vector<std::string> names_in(const std::string& archive) {
  MemorySource source(bytes_of(archive));
  TarReader reader(&source);
  std::vector<std::string> names;
  TarEntry entry;
  while (true) {
    const Result<bool> more = reader.next(&entry);
    EXPECT_TRUE(more.ok()) << more.status().to_string();
    if (!more.ok() || !*more) return names;
    names.push_back(entry.name);
  }
}

class DeepTreesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }

  Mount bind(const std::string& name) const { return {"bind", scratch_ / name, "", {"rbind"}}; }

  Result<std::string> compare(const std::vector<Mount>& left, const std::vector<Mount>& right) {
    Result<std::string> out = std::string();
    on_handler_stack([&] {
      StringSink sink;
      const auto done = compare_mounts(left, right, {Compression::kNone, std::nullopt, temp_},
                                       [&]() -> Result<ByteSink*> { return &sink; });
      out = done.ok() ? Result<std::string>(sink.text) : Result<std::string>(done.status());
    });
    return out;
  }

  Status apply(const std::string& archive, const std::string& name) {
    Status status;
    on_handler_stack([&] {
      MemorySource source(bytes_of(archive), 65536);
      status = apply_layer(&source, {digest_of(archive).string(), 0}, {bind(name)}, {true, temp_})
                   .status();
    });
    return status;
  }

  TempDir scratch_;
  const std::string temp_ = scratch_.dir("temp");
  const berth::testing::UsualDescriptors few_;
};

TEST_F(DeepTreesTest, WhatIsTheSameIsNoChange) {
  make_deep_tree(scratch_.dir("tree"), kUnnamed);
  const auto layer = compare({bind("tree")}, {bind("tree")});
  ASSERT_TRUE(layer.ok()) << layer.status().to_string();
  EXPECT_EQ(names_in(*layer), std::vector<std::string>());
}

// All directories above have to be in the layer, too.
TEST_F(DeepTreesTest, AChangeAtTheEndIsFound) {
  make_deep_tree(scratch_.dir("left"), kNamed);
  make_deep_tree(scratch_.dir("right"), kNamed);
  const UniqueFd end = berth::testing::descend(scratch_ / "right", kNamed);
  ASSERT_EQ(::fchmodat(end.get(), "f", 0600, 0), 0);
  const auto layer = compare({bind("left")}, {bind("right")});
  ASSERT_TRUE(layer.ok()) << layer.status().to_string();
  const auto names = names_in(*layer);
  ASSERT_EQ(names.size(), kNamed + 1U);
  EXPECT_EQ(names.front(), "d/");
  EXPECT_EQ(names.back().size(), 2U * kNamed + 1);
  EXPECT_TRUE(names.back().ends_with("/d/f"));
}

TEST_F(DeepTreesTest, AllOfANamedTreeIsWrittenAndUnpacked) {
  make_deep_tree(scratch_.dir("tree"), kNamed);
  const auto layer = compare({}, {bind("tree")});
  ASSERT_TRUE(layer.ok()) << layer.status().to_string();
  EXPECT_EQ(names_in(*layer).size(), kNamed + 1U);
  scratch_.dir("to");
  const Status applied = apply(*layer, "to");
  ASSERT_TRUE(applied.ok()) << applied.to_string();
  EXPECT_TRUE(has_deep_tree(scratch_ / "to", kNamed));
}

TEST_F(DeepTreesTest, WhatALayerCannotNameIsRefusedInAFewWords) {
  make_deep_tree(scratch_.dir("tree"), kUnnamed);
  const auto layer = compare({}, {bind("tree")});
  EXPECT_EQ(layer.status().code(), Code::kInvalidArgument);
  const std::string why = layer.status().to_string();
  EXPECT_NE(why.find("4095"), std::string::npos) << why;
  EXPECT_LT(why.size(), 2000U) << why;
}

TEST_F(DeepTreesTest, WhatIsGoneIsOneWhiteout) {
  make_deep_tree(scratch_.dir("tree"), kUnnamed);
  scratch_.dir("empty");
  const auto layer = compare({bind("tree")}, {bind("empty")});
  ASSERT_TRUE(layer.ok()) << layer.status().to_string();
  EXPECT_EQ(names_in(*layer), std::vector<std::string>{".wh.d"});
  const Status applied = apply(*layer, "tree");
  ASSERT_TRUE(applied.ok()) << applied.to_string();
  EXPECT_FALSE(exists(scratch_ / "tree/d"));
}

TEST_F(DeepTreesTest, AnOpaqueDirectoryHidesThem) {
  make_deep_tree(scratch_.dir("tree"), kUnnamed);
  RawTar archive;
  archive.file("d/d/kept", "x").file(".wh..wh..opq", "");
  const Status applied = apply(archive.end(), "tree");
  ASSERT_TRUE(applied.ok()) << applied.to_string();
  EXPECT_EQ(read_file(scratch_ / "tree/d/d/kept"), "x");
  EXPECT_FALSE(exists(scratch_ / "tree/d/d/d"));
}

TEST_F(DeepTreesTest, AFileReplacesThem) {
  make_deep_tree(scratch_.dir("tree"), kUnnamed);
  RawTar archive;
  archive.file("d", "x");
  const Status applied = apply(archive.end(), "tree");
  ASSERT_TRUE(applied.ok()) << applied.to_string();
  EXPECT_EQ(read_file(scratch_ / "tree/d"), "x");
}

}  // namespace
}  // namespace berth::diff_walking
