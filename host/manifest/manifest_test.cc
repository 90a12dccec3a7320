#include "manifest/manifest.h"

#include <gtest/gtest.h>

#include "manifest/elf_note.h"

namespace berth::manifest {
namespace {

constexpr std::string_view kGood = R"(manifest = 1
abi = { major = 0, minor = 1 }
[[plugin]]
type = "io.containerd.content.v1"
id = "content"
version = "0.1.0"
provides = ["containerd.services.content.v1.Content"]
  [[plugin.requires]]
  name = "events"
  type = "io.containerd.event.v1"
  version = ">=0.1, <1"
  cardinality = "optional"
  [[plugin.config]]
  key = "root_path"
  type = "string"
  default = "/x"
  doc = "Where blobs are kept."
)";

TEST(Manifest, ReadsAWholeOne) {
  const auto manifest = parse_manifest(kGood, "plugin.toml");
  ASSERT_TRUE(manifest.ok()) << manifest.status().message();
  ASSERT_EQ(manifest->plugins.size(), 1U);
  const Plugin& plugin = manifest->plugins[0];
  EXPECT_EQ(plugin.uri(), "io.containerd.content.v1.content");
  ASSERT_EQ(plugin.requires_.size(), 1U);
  EXPECT_EQ(plugin.requires_[0].id, "*");
  EXPECT_EQ(plugin.requires_[0].cardinality, Cardinality::kOptional);
  ASSERT_EQ(plugin.config.size(), 1U);
  EXPECT_EQ(plugin.config[0].default_json, "\"/x\"");
}

TEST(Manifest, ReportsAllErrorsWithTheirLines) {
  const auto manifest = parse_manifest(R"(manifest = 1
abi = { major = 0, minor = 1 }
colour = "red"
[[plugin]]
type = "t"
id = 5
version = "a.b"
)",
                                       "p.toml");
  ASSERT_FALSE(manifest.ok());
  const std::string& text = manifest.status().message();
  EXPECT_NE(text.find("p.toml:3: unknown key \"colour\""), std::string::npos) << text;
  EXPECT_NE(text.find("p.toml:6: \"id\" must be a string"), std::string::npos) << text;
  EXPECT_NE(text.find("p.toml:7: version \"a.b\""), std::string::npos) << text;
}

TEST(Manifest, AUriIsTheNameOfAFolder) {
  const auto with_id = [](size_t size) {
    std::string text(kGood);
    text.replace(text.find("\"content\""), 9, '"' + std::string(size, 'x') + '"');
    return parse_manifest(text, "p.toml");
  };
  EXPECT_TRUE(with_id(100).ok());
  EXPECT_NE(with_id(101).status().message().find(
                "p.toml:5: \"id\" has 101 characters; use at most 100: letters"),
            std::string::npos)
      << with_id(101).status().message();
}

TEST(ElfNote, RefusesWhatIsNotAnElf) {
  EXPECT_EQ(find_manifest_note("#!/bin/sh\n").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(find_manifest_note("").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(read_manifest_note("/proc/self/exe").status().code(), Code::kNotFound);
}

TEST(Version, RangesCompareNumbers) {
  const auto range = VersionRange::parse(">=0.9, <0.10.1");
  ASSERT_TRUE(range.ok());
  EXPECT_TRUE(range->contains(*Version::parse("0.10")));
  EXPECT_FALSE(range->contains(*Version::parse("0.10.1")));
  EXPECT_FALSE(range->contains(*Version::parse("0.8.99")));
  EXPECT_FALSE(VersionRange::parse("~1").ok());
  EXPECT_FALSE(Version::parse("1..2").ok());
}

}  // namespace
}  // namespace berth::manifest
