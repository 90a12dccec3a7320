#include "relations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace berth::packaging {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

manifest::Manifest parse(const std::string& text) {
  auto parsed = manifest::parse_manifest("manifest = 1\nabi = { major = 2, minor = 7 }\n" + text,
                                         "plugin.toml");
  EXPECT_TRUE(parsed.ok()) << parsed.status().message();
  return *parsed;
}

TEST(RelationsTest, APluginProvidesEveryNameByWhichItCanBeAskedFor) {
  const Relations relations = relations_of({parse(R"(
[[plugin]]
type = "io.x.store.v1"
id = "big_one"
aliases = ["old"]
version = "0.3"
provides = ["x.Store"]
)")});
  EXPECT_THAT(relations.provides, ElementsAre("berth-io.x.store.v1 (= 0.3.0.0)",
                                              "berth-io.x.store.v1+x.store (= 0.3.0.0)",
                                              "berth-io.x.store.v1.big-one (= 0.3.0.0)",
                                              "berth-io.x.store.v1.big-one+x.store (= 0.3.0.0)",
                                              "berth-io.x.store.v1.old (= 0.3.0.0)",
                                              "berth-io.x.store.v1.old+x.store (= 0.3.0.0)"));
  EXPECT_THAT(relations.depends, ElementsAre("berth-abi-2 (>= 2.7)"));
  EXPECT_THAT(relations.recommends, IsEmpty());
}

TEST(RelationsTest, ARequirementIsAsStrongAsItsCardinality) {
  const Relations relations = relations_of({parse(R"(
[[plugin]]
type = "t.v1"
id = "a"
version = "1"
provides = []
  [[plugin.requires]]
  name = "must"
  type = "m.v1"
  service = "m.S"
  version = ">=0.1, <1"
  [[plugin.requires]]
  name = "may"
  type = "o.v1"
  id = "named"
  cardinality = "optional"
  version = ">1.2"
  [[plugin.requires]]
  name = "any"
  type = "n.v1"
  cardinality = "all"
  [[plugin.requires]]
  name = "after"
  type = "z.v1"
  order_only = true
)")});
  EXPECT_THAT(relations.depends, ElementsAre("berth-abi-2 (>= 2.7)", "berth-m.v1+m.s (<< 1.0.0.0)",
                                             "berth-m.v1+m.s (>= 0.1.0.0)"));
  EXPECT_THAT(relations.recommends, ElementsAre("berth-o.v1.named (>> 1.2.0.0)"));
  EXPECT_THAT(relations.suggests, ElementsAre("berth-n.v1"));
}

constexpr const char* kTwo = R"(
[[plugin]]
type = "t.v1"
id = "a"
version = "1"
provides = ["a.S"]
  [[plugin.requires]]
  name = "both"
  type = "m.v1"
[[plugin]]
type = "t.v1"
id = "b"
version = "1"
provides = ["b.S"]
  [[plugin.requires]]
  name = "both"
  type = "m.v1"
  [[plugin.requires]]
  name = "own"
  type = "r.v1"
  [[plugin.requires]]
  name = "neighbour"
  type = "t.v1"
  service = "a.S"
)";

TEST(RelationsTest, APackageDependsOnWhatAllItsPluginsNeed) {
  const Relations relations = relations_of({parse(kTwo)});
  EXPECT_THAT(relations.depends, ElementsAre("berth-abi-2 (>= 2.7)", "berth-m.v1"));
  // The other runs without it.
  EXPECT_THAT(relations.recommends, ElementsAre("berth-r.v1"));
}

TEST(RelationsTest, FilesOfOnePackageDoNotAskForOneAnother) {
  const auto other = parse(R"(
[[plugin]]
type = "m.v1"
id = "c"
version = "1"
provides = []
)");
  const Relations relations = relations_of({parse(kTwo), other});
  EXPECT_THAT(relations.depends, Not(Contains("berth-m.v1")));
  EXPECT_THAT(relations.recommends, ElementsAre("berth-r.v1"));
}

TEST(RelationsTest, SubstvarsHaveALineForEach) {
  EXPECT_EQ(to_substvars({{"a (>= 1)", "b"}, {}, {"c"}, {}}),
            "berth:Depends=a (>= 1), b\nberth:Recommends=\nberth:Suggests=c\nberth:Provides=\n");
}

}  // namespace
}  // namespace berth::packaging
