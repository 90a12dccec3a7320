#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "manifest/manifest.h"
#include "manifest/toml_text.h"

namespace berth::manifest {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kFull = R"(manifest = 1
abi = { major = 0, minor = 1 }
vendor = "Berth"
license = "Apache-2.0"
url = "https://example.org"

[[plugin]]
type = "io.containerd.snapshotter.v1"
id = "overlayfs"
version = "0.1.0"
provides = ["containerd.services.snapshots.v1.Snapshots"]
platforms = ["linux/amd64"]
capabilities = ["remap-ids"]
aliases = ["overlay"]
optional = true
multiple = true
config_version = 2

  [[plugin.requires]]
  name = "content"
  type = "io.containerd.content.v1"
  id = "content"
  service = "containerd.services.content.v1.Content"
  version = ">=0.1, <1"
  cardinality = "optional"

  [[plugin.requires]]
  name = "first"
  type = "io.containerd.internal.v1"
  cardinality = "all"
  order_only = true

  [[plugin.config]]
  key = "root_path"
  type = "string"
  default = "a \"quoted\" \\ path"
  doc = "Where it is."

  [[plugin.config]]
  key = "retries"
  type = "integer"
  default = 9223372036854775807
  doc = "How often."

  [[plugin.config]]
  key = "ratio"
  type = "float"
  default = 0.02
  doc = "How much."

  [[plugin.config]]
  key = "delay"
  type = "duration"
  default = "100ms"
  doc = "How long."

  [[plugin.config]]
  key = "options"
  type = "list"
  default = ["a", "b"]
  doc = "Which."

  [[plugin.config]]
  key = "labels"
  type = "table"
  default = { a = { b = [1, true] } }
  doc = "What."

  [[plugin.config]]
  key = "on"
  type = "boolean"
  doc = "Whether; no default is false."

  [plugin.needs]
  binaries = ["mount"]
  kernel = ["overlay"]
  capabilities = ["CAP_SYS_ADMIN"]
)";

/// A manifest with one plugin, to which `more` is added (it is still inside [[plugin]]).
std::string with(std::string_view more) {
  return "manifest = 1\nabi = { major = 0, minor = 1 }\n[[plugin]]\ntype = \"t.v1\"\nid = \"a\"\n"
         "version = \"1\"\n" +
         std::string(more);
}

std::string error_of(std::string_view text) {
  const auto result = parse_manifest(text, "plugin.toml");
  if (result.ok()) return "";
  EXPECT_EQ(result.status().code(), Code::kInvalidArgument);
  return result.status().message();
}

TEST(SchemaTest, ReadsEveryField) {
  const auto result = parse_manifest(kFull, "x.so");
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->file, "x.so");
  EXPECT_EQ(result->abi_major, 0U);
  EXPECT_EQ(result->abi_minor, 1U);
  EXPECT_EQ(result->vendor, "Berth");
  EXPECT_EQ(result->license, "Apache-2.0");
  EXPECT_EQ(result->url, "https://example.org");
  ASSERT_EQ(result->plugins.size(), 1U);
  const Plugin& plugin = result->plugins[0];
  EXPECT_EQ(plugin.uri(), "io.containerd.snapshotter.v1.overlayfs");
  EXPECT_EQ(plugin.version.text(), "0.1.0");
  EXPECT_THAT(plugin.provides, ElementsAre("containerd.services.snapshots.v1.Snapshots"));
  EXPECT_THAT(plugin.platforms, ElementsAre("linux/amd64"));
  EXPECT_THAT(plugin.capabilities, ElementsAre("remap-ids"));
  EXPECT_THAT(plugin.aliases, ElementsAre("overlay"));
  EXPECT_FALSE(plugin.client_facing);
  EXPECT_TRUE(plugin.optional);
  EXPECT_TRUE(plugin.multiple);
  EXPECT_EQ(plugin.config_version, 2);
  EXPECT_THAT(plugin.needs_binaries, ElementsAre("mount"));
  EXPECT_THAT(plugin.needs_kernel, ElementsAre("overlay"));
  EXPECT_THAT(plugin.needs_capabilities, ElementsAre("CAP_SYS_ADMIN"));

  ASSERT_EQ(plugin.requires_.size(), 2U);
  EXPECT_EQ(plugin.requires_[0].name, "content");
  EXPECT_EQ(plugin.requires_[0].id, "content");
  EXPECT_EQ(plugin.requires_[0].service, "containerd.services.content.v1.Content");
  EXPECT_EQ(plugin.requires_[0].cardinality, Cardinality::kOptional);
  EXPECT_TRUE(plugin.requires_[0].version.contains(*Version::parse("0.9")));
  EXPECT_FALSE(plugin.requires_[0].version.contains(*Version::parse("1.0")));
  EXPECT_FALSE(plugin.requires_[0].order_only);
  EXPECT_EQ(plugin.requires_[1].id, "*");
  EXPECT_EQ(plugin.requires_[1].cardinality, Cardinality::kAll);
  EXPECT_TRUE(plugin.requires_[1].order_only);
}

TEST(SchemaTest, DefaultsBecomeJson) {
  const auto result = parse_manifest(kFull, "x.so");
  ASSERT_TRUE(result.ok()) << result.status().message();
  std::vector<std::string> defaults;
  for (const ConfigKey& key : result->plugins[0].config) defaults.push_back(key.default_json);
  EXPECT_THAT(defaults,
              ElementsAre(R"("a \"quoted\" \\ path")", "9223372036854775807", "0.02", R"("100ms")",
                          R"(["a","b"])", R"({"a":{"b":[1,true]}})", "false"));
}

TEST(SchemaTest, AllErrorsAreReportedTogetherWithTheirLines) {
  const std::string text = error_of(
      "manifest = 2\n"                     // 1
      "abi = { major = 0, minor = -1 }\n"  // 2
      "colour = \"red\"\n"                 // 3
      "vendor = 7\n"                       // 4
      "[[plugin]]\n"                       // 5
      "type = \"t.v1\"\n"                  // 6
      "version = \"one\"\n"                // 7
      "provides = \"S\"\n"                 // 8
      "client_facing = 1\n"                // 9
      "[[plugin.requires]]\n"              // 10
      "name = \"n\"\n"                     // 11
      "type = \"t\"\n"                     // 12
      "version = \"~1\"\n"                 // 13
      "cardinality = \"many\"\n"           // 14
      "[[plugin.config]]\n"                // 15
      "key = \"k\"\n"                      // 16
      "type = \"text\"\n"                  // 17
      "doc = \"d\"\n"                      // 18
      "[[plugin.config]]\n"                // 19
      "key = \"l\"\n"                      // 20
      "type = \"integer\"\n"               // 21
      "default = \"3\"\n"                  // 22
      "doc = \"d\"\n");                    // 23
  for (const char* expected :
       {"plugin.toml:1: \"manifest\" is 2", "plugin.toml:2: \"minor\"",
        "plugin.toml:3: unknown key \"colour\"", "plugin.toml:4: \"vendor\"",
        "plugin.toml:5: \"id\" is missing", "plugin.toml:7: version \"one\"",
        "plugin.toml:8: \"provides\"", "plugin.toml:9: \"client_facing\"",
        "plugin.toml:13: ", "plugin.toml:14: ", "\"many\"", "\"text\"", "plugin.toml:22: "}) {
    EXPECT_THAT(text, HasSubstr(expected));
  }
}

TEST(SchemaTest, SyntaxErrorsNameTheLine) {
  EXPECT_THAT(error_of("manifest = 1\nabi = {\n"), HasSubstr("plugin.toml:2: "));
  EXPECT_THAT(error_of("\xff\xfe"), HasSubstr("plugin.toml:1: "));
}

TEST(SchemaTest, TheFrameIsNeeded) {
  EXPECT_THAT(error_of(""), AllOf(HasSubstr("\"manifest\""), HasSubstr("\"abi\" is missing"),
                                  HasSubstr("there is no [[plugin]]")));
  EXPECT_THAT(error_of("manifest = 1\nabi = { major = 0, minor = 1 }\nplugin = 3\n"),
              HasSubstr("plugin.toml:3: \"plugin\" must be [[tables]]"));
}

TEST(SchemaTest, UnknownKeysAreErrorsAtEveryLevel) {
  EXPECT_THAT(error_of(with("requries = []\n")), HasSubstr("7: unknown key \"requries\""));
  EXPECT_THAT(error_of(with("[[plugin.requires]]\nname = \"n\"\ntype = \"t\"\nkind = 1\n")),
              HasSubstr("10: unknown key \"kind\""));
  EXPECT_THAT(
      error_of(with("[[plugin.config]]\nkey = \"n\"\ntype = \"string\"\ndoc = \"d\"\nmax = 1\n")),
      HasSubstr("11: unknown key \"max\""));
  EXPECT_THAT(error_of(with("[plugin.needs]\nbinary = []\n")),
              HasSubstr("8: unknown key \"binary\""));
}

TEST(SchemaTest, NamesMayNotRepeat) {
  EXPECT_THAT(error_of(with("[[plugin.requires]]\nname = \"n\"\ntype = \"t\"\n"
                            "[[plugin.requires]]\nname = \"n\"\ntype = \"u\"\n")),
              HasSubstr("two requirements are named \"n\""));
  EXPECT_THAT(error_of(with("[[plugin.config]]\nkey = \"n\"\ntype = \"string\"\ndoc = \"d\"\n"
                            "[[plugin.config]]\nkey = \"n\"\ntype = \"string\"\ndoc = \"d\"\n")),
              HasSubstr("\"n\""));
  EXPECT_THAT(error_of(with("[[plugin]]\ntype = \"t.v1\"\nid = \"a\"\nversion = \"1\"\n")),
              HasSubstr("7: plugin t.v1.a is declared twice"));
}

TEST(SchemaTest, ARequirementMayNotBeNamedLikeAConfigurationKey) {
  // A plugin's section chooses a provider by the requirement's name, so the two would collide.
  EXPECT_THAT(error_of(with("[[plugin.requires]]\nname = \"content\"\ntype = \"t\"\n"
                            "[[plugin.config]]\nkey = \"content\"\ntype = \"string\"\n"
                            "doc = \"d\"\n")),
              HasSubstr("\"content\" is also the name of a requirement"));
  EXPECT_THAT(error_of(with("[[plugin.config]]\nkey = \"placement\"\ntype = \"string\"\n"
                            "doc = \"d\"\n")),
              HasSubstr("\"placement\" is reserved"));
}

TEST(SchemaTest, ADurationDefaultMustBeOne) {
  const std::string key = "[[plugin.config]]\nkey = \"k\"\ntype = \"duration\"\ndoc = \"d\"\n";
  EXPECT_EQ(error_of(with(key + "default = \"1h2m3.5s\"\n")), "");
  EXPECT_EQ(error_of(with(key + "default = \"0\"\n")), "");
  EXPECT_THAT(error_of(with(key + "default = \"soon\"\n")), HasSubstr("11: "));
  EXPECT_THAT(error_of(with(key + "default = \"5\"\n")), HasSubstr("\"5\""));
}

TEST(SchemaTest, IdsAreWordsThatCanBeDirectories) {
  for (const char* id : {"", "*", "a/b", "..", "a b", "a\\u0000b"}) {
    const std::string text =
        "manifest = 1\nabi = { major = 0, minor = 1 }\n[[plugin]]\n"
        "type = \"t.v1\"\nid = \"" +
        std::string(id) + "\"\nversion = \"1\"\n";
    EXPECT_THAT(error_of(text), HasSubstr("plugin.toml:5: ")) << id;
  }
  EXPECT_THAT(error_of("manifest = 1\nabi = { major = 0, minor = 1 }\n[[plugin]]\n"
                       "type = \"../t\"\nid = \"a\"\nversion = \"1\"\n"),
              HasSubstr("plugin.toml:4: "));
}

TEST(SchemaTest, DeepNestingIsRefusedAndDoesNotOverflowTheStack) {
  std::string dotted = "a";
  for (int i = 0; i < 200'000; ++i) dotted += ".a";
  EXPECT_NE(error_of(dotted + " = 1\n"), "");
  EXPECT_NE(error_of("[" + dotted + "]\n"), "");
  EXPECT_NE(error_of("a = " + std::string(200'000, '[')), "");
  std::string inline_tables;
  for (int i = 0; i < 100'000; ++i) inline_tables += "{a=";
  EXPECT_NE(error_of("a = " + inline_tables), "");
}

TEST(SchemaTest, ADotOrBracketInAStringIsNoDepth) {
  const std::string many(500, '.');
  const std::string text =
      with("[[plugin.config]]\nkey = \"k\"\ntype = \"string\"\ndefault = \"" + many + "[[[\\\"{{{" +
           many + "\"\ndoc = '" + many + "' # " + many + "\n");
  EXPECT_EQ(error_of(text), "");
  // A quoted key with a bracket or an equals sign in it resets nothing.
  std::string dotted = "\"=[\"";
  for (int i = 0; i < 100; ++i) dotted += ".\"=[\"";
  EXPECT_THAT(error_of(dotted + " = 1\n"), HasSubstr("nested more than"));
  EXPECT_THAT(error_of("a = \"\"\"x\"\"\"\"\"\n" + dotted + " = 1\n"),
              HasSubstr("plugin.toml:2: nested"));
}

TEST(SchemaTest, LargeTextIsRefused) {
  EXPECT_THAT(error_of(std::string(1 << 20, '#') + "\n"), HasSubstr("1048577"));
}

TEST(SchemaTest, DocumentationIsOneLine) {
  EXPECT_THAT(
      error_of(with("[[plugin.config]]\nkey = \"k\"\ntype = \"string\"\ndoc = \"a\\nb\"\n")),
      HasSubstr("10: \"doc\" must be one line"));
}

TEST(SchemaTest, DatesAndInfinitiesAreNotDefaults) {
  EXPECT_NE(error_of(with("[[plugin.config]]\nkey = \"k\"\ntype = \"float\"\ndefault = inf\n"
                          "doc = \"d\"\n")),
            "");
  EXPECT_NE(error_of(with("[[plugin.config]]\nkey = \"k\"\ntype = \"list\"\n"
                          "default = [1979-05-27]\ndoc = \"d\"\n")),
            "");
}

TEST(DurationTest, AsGoWritesThem) {
  const auto ns = [](const char* text) {
    const auto parsed = parse_duration(text);
    return parsed ? parsed->count() : -1;
  };
  EXPECT_EQ(ns("0"), 0);
  EXPECT_EQ(ns("0s"), 0);
  EXPECT_EQ(ns("100ms"), 100'000'000);
  EXPECT_EQ(ns("1h2m3.5s"), 3'723'500'000'000);
  EXPECT_EQ(ns("1.5h"), 5'400'000'000'000);
  EXPECT_EQ(ns(".5s"), 500'000'000);
  EXPECT_EQ(ns("1.s"), 1'000'000'000);
  EXPECT_EQ(ns("1us2ns"), 1002);
  EXPECT_EQ(ns("1\u00b5s"), 1000);
  EXPECT_EQ(ns("1\u03bcs"), 1000);
  EXPECT_EQ(parse_duration("-1.5s")->count(), -1'500'000'000);
  EXPECT_EQ(ns("0.3333333333333333333333333s"), 333'333'333);
  EXPECT_EQ(ns("9223372036854775807ns"), INT64_MAX);
  for (const char* text :
       {"", "-", "5", "s", "1 s", "1.2.3s", ".", ".s", "1x", "1sx", "1d", "--1s", "1s-1s",
        "9223372036854775808ns", "2562048h", "99999999999999999999999999999999999999999h"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

TEST(VersionTest, ComparesNumbersNotText) {
  EXPECT_LT(Version::parse("0.9")->compare(*Version::parse("0.10")), 0);
  EXPECT_EQ(Version::parse("1")->compare(*Version::parse("1.0.0")), 0);
  EXPECT_GT(Version::parse("1.0.0.1")->compare(*Version::parse("1")), 0);
}

TEST(VersionTest, RefusesWhatIsNoVersion) {
  for (const char* text :
       {"", ".", "1.", ".1", "1..2", "v1", "1.2.3.4.5", "-1", "+1", "1 ", "4294967296", "1.x"}) {
    EXPECT_FALSE(Version::parse(text).ok()) << text;
  }
}

TEST(VersionTest, Ranges) {
  const auto in = [](const char* range, const char* version) {
    const auto parsed = VersionRange::parse(range);
    EXPECT_TRUE(parsed.ok()) << range;
    return parsed.ok() && parsed->contains(*Version::parse(version));
  };
  EXPECT_TRUE(in("", "7"));
  EXPECT_TRUE(in(">=0.1, <1", "0.1"));
  EXPECT_TRUE(in(">=0.1,<1", "0.99.3"));
  EXPECT_FALSE(in(">=0.1, <1", "1.0"));
  EXPECT_FALSE(in(">0.1", "0.1.0"));
  EXPECT_TRUE(in("<=2", "2.0"));
  EXPECT_TRUE(in("= 2", "2.0"));
  EXPECT_FALSE(in("=2", "2.0.1"));
  for (const char* text :
       {"1", "~1", ">=", ">=1,", ",", ">=1 <2", "=>1", "!=1", ">=a", ">=1,,<2"}) {
    EXPECT_FALSE(VersionRange::parse(text).ok()) << text;
  }
}

}  // namespace
}  // namespace berth::manifest
