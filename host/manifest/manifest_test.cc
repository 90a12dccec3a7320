#include "manifest/manifest.h"

#include <elf.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "manifest/elf_note.h"

namespace berth::manifest {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

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

TEST(ManifestTest, ReadsEveryField) {
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

TEST(ManifestTest, DefaultsBecomeJson) {
  const auto result = parse_manifest(kFull, "x.so");
  ASSERT_TRUE(result.ok()) << result.status().message();
  std::vector<std::string> defaults;
  for (const ConfigKey& key : result->plugins[0].config) defaults.push_back(key.default_json);
  EXPECT_THAT(defaults,
              ElementsAre(R"("a \"quoted\" \\ path")", "9223372036854775807", "0.02", R"("100ms")",
                          R"(["a","b"])", R"({"a":{"b":[1,true]}})", "false"));
}

TEST(ManifestTest, AllErrorsAreReportedTogetherWithTheirLines) {
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

TEST(ManifestTest, SyntaxErrorsNameTheLine) {
  EXPECT_THAT(error_of("manifest = 1\nabi = {\n"), HasSubstr("plugin.toml:2: "));
  EXPECT_THAT(error_of("\xff\xfe"), HasSubstr("plugin.toml:1: "));
}

TEST(ManifestTest, TheFrameIsNeeded) {
  EXPECT_THAT(error_of(""), AllOf(HasSubstr("\"manifest\""), HasSubstr("\"abi\" is missing"),
                                  HasSubstr("there is no [[plugin]]")));
  EXPECT_THAT(error_of("manifest = 1\nabi = { major = 0, minor = 1 }\nplugin = 3\n"),
              HasSubstr("plugin.toml:3: \"plugin\" must be [[tables]]"));
}

TEST(ManifestTest, UnknownKeysAreErrorsAtEveryLevel) {
  EXPECT_THAT(error_of(with("requries = []\n")), HasSubstr("7: unknown key \"requries\""));
  EXPECT_THAT(error_of(with("[[plugin.requires]]\nname = \"n\"\ntype = \"t\"\nkind = 1\n")),
              HasSubstr("10: unknown key \"kind\""));
  EXPECT_THAT(
      error_of(with("[[plugin.config]]\nkey = \"n\"\ntype = \"string\"\ndoc = \"d\"\nmax = 1\n")),
      HasSubstr("11: unknown key \"max\""));
  EXPECT_THAT(error_of(with("[plugin.needs]\nbinary = []\n")),
              HasSubstr("8: unknown key \"binary\""));
}

TEST(ManifestTest, NamesMayNotRepeat) {
  EXPECT_THAT(error_of(with("[[plugin.requires]]\nname = \"n\"\ntype = \"t\"\n"
                            "[[plugin.requires]]\nname = \"n\"\ntype = \"u\"\n")),
              HasSubstr("two requirements are named \"n\""));
  EXPECT_THAT(error_of(with("[[plugin.config]]\nkey = \"n\"\ntype = \"string\"\ndoc = \"d\"\n"
                            "[[plugin.config]]\nkey = \"n\"\ntype = \"string\"\ndoc = \"d\"\n")),
              HasSubstr("\"n\""));
  EXPECT_THAT(error_of(with("[[plugin]]\ntype = \"t.v1\"\nid = \"a\"\nversion = \"1\"\n")),
              HasSubstr("7: plugin t.v1.a is declared twice"));
}

TEST(ManifestTest, ARequirementMayNotBeNamedLikeAConfigurationKey) {
  // A plugin's section chooses a provider by the requirement's name, so the two would collide.
  EXPECT_THAT(error_of(with("[[plugin.requires]]\nname = \"content\"\ntype = \"t\"\n"
                            "[[plugin.config]]\nkey = \"content\"\ntype = \"string\"\n"
                            "doc = \"d\"\n")),
              HasSubstr("\"content\" is also the name of a requirement"));
  EXPECT_THAT(error_of(with("[[plugin.config]]\nkey = \"placement\"\ntype = \"string\"\n"
                            "doc = \"d\"\n")),
              HasSubstr("\"placement\" is reserved"));
}

TEST(ManifestTest, ADurationDefaultMustBeOne) {
  const std::string key = "[[plugin.config]]\nkey = \"k\"\ntype = \"duration\"\ndoc = \"d\"\n";
  EXPECT_EQ(error_of(with(key + "default = \"1h2m3.5s\"\n")), "");
  EXPECT_EQ(error_of(with(key + "default = \"0\"\n")), "");
  EXPECT_THAT(error_of(with(key + "default = \"soon\"\n")), HasSubstr("11: "));
  EXPECT_THAT(error_of(with(key + "default = \"5\"\n")), HasSubstr("\"5\""));
}

TEST(ManifestTest, IdsAreWordsThatCanBeDirectories) {
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

TEST(ManifestTest, DeepNestingIsRefusedAndDoesNotOverflowTheStack) {
  std::string dotted = "a";
  for (int i = 0; i < 200'000; ++i) dotted += ".a";
  EXPECT_NE(error_of(dotted + " = 1\n"), "");
  EXPECT_NE(error_of("[" + dotted + "]\n"), "");
  EXPECT_NE(error_of("a = " + std::string(200'000, '[')), "");
  std::string inline_tables;
  for (int i = 0; i < 100'000; ++i) inline_tables += "{a=";
  EXPECT_NE(error_of("a = " + inline_tables), "");
}

TEST(ManifestTest, DatesAndInfinitiesAreNotDefaults) {
  EXPECT_NE(error_of(with("[[plugin.config]]\nkey = \"k\"\ntype = \"float\"\ndefault = inf\n"
                          "doc = \"d\"\n")),
            "");
  EXPECT_NE(error_of(with("[[plugin.config]]\nkey = \"k\"\ntype = \"list\"\n"
                          "default = [1979-05-27]\ndoc = \"d\"\n")),
            "");
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

// -- the ELF note
// ------------------------------------------------------------------------------------

void append(std::string* out, const void* data, size_t size) {
  out->append(static_cast<const char*>(data), size);
}

std::string note(std::string_view name, uint32_t type, std::string_view descriptor) {
  Elf64_Nhdr header{};
  header.n_namesz = static_cast<Elf64_Word>(name.size());
  header.n_descsz = static_cast<Elf64_Word>(descriptor.size());
  header.n_type = type;
  std::string out;
  append(&out, &header, sizeof header);
  out.append(name).append((4 - name.size() % 4) % 4, '\0');
  out.append(descriptor).append((4 - descriptor.size() % 4) % 4, '\0');
  return out;
}

constexpr std::string_view kName{"Berth\0", 6};

/// An ELF image with one PT_NOTE segment, that can be damaged afterwards.
struct Image {
  Elf64_Ehdr header{};
  Elf64_Phdr segment{};
  std::string notes;

  explicit Image(std::string content) : notes(std::move(content)) {
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = ET_DYN;
    header.e_machine = EM_X86_64;
    header.e_version = EV_CURRENT;
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof segment;
    header.e_phnum = 1;
    header.e_ehsize = sizeof header;
    segment.p_type = PT_NOTE;
    segment.p_offset = sizeof header + sizeof segment;
    segment.p_filesz = notes.size();
    segment.p_align = 4;
  }

  std::string bytes() const {
    std::string out;
    append(&out, &header, sizeof header);
    append(&out, &segment, sizeof segment);
    return out + notes;
  }
};

TEST(ElfNoteTest, FindsTheManifestVerbatim) {
  const std::string image = Image(note("GNU\0", 3, "id") + note(kName, 7, "other") +
                                  note(kName, 1, "manifest = 1\n# end"))
                                .bytes();
  const auto found = find_manifest_note(image);
  ASSERT_TRUE(found.ok()) << found.status().message();
  EXPECT_EQ(*found, "manifest = 1\n# end");
}

TEST(ElfNoteTest, ThereIsNone) {
  const auto found = find_manifest_note(Image(note("GNU\0", 1, "id")).bytes());
  EXPECT_EQ(found.status().code(), Code::kNotFound);
  EXPECT_THAT(found.status().message(), HasSubstr("Berth"));
  EXPECT_EQ(find_manifest_note(Image("").bytes()).status().code(), Code::kNotFound);
}

TEST(ElfNoteTest, FilesThatAreNoSuchElf) {
  EXPECT_EQ(find_manifest_note("").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(find_manifest_note("#!/bin/sh\n").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(find_manifest_note("\177ELF").status().code(), Code::kInvalidArgument);
  Image small(note(kName, 1, "x"));
  small.header.e_ident[EI_CLASS] = ELFCLASS32;
  EXPECT_THAT(find_manifest_note(small.bytes()).status().message(), HasSubstr("64-bit"));
  Image big(note(kName, 1, "x"));
  big.header.e_ident[EI_DATA] = ELFDATA2MSB;
  EXPECT_FALSE(find_manifest_note(big.bytes()).ok());
}

TEST(ElfNoteTest, HostileOffsets) {
  for (const uint64_t offset : {~0ULL, ~0ULL - 55, 1ULL << 63, 1ULL << 20, 150ULL}) {
    Image headers(note(kName, 1, "x"));
    headers.header.e_phoff = offset;
    EXPECT_FALSE(find_manifest_note(headers.bytes()).ok()) << offset;
    Image segment(note(kName, 1, "x"));
    segment.segment.p_offset = offset;
    EXPECT_FALSE(find_manifest_note(segment.bytes()).ok()) << offset;
    Image size(note(kName, 1, "x"));
    size.segment.p_filesz = offset;
    EXPECT_FALSE(find_manifest_note(size.bytes()).ok()) << offset;
  }
}

TEST(ElfNoteTest, HostileHeaderSizes) {
  Image many(note(kName, 1, "x"));
  many.header.e_phnum = 0xffff;
  many.segment.p_type = PT_LOAD;
  EXPECT_FALSE(find_manifest_note(many.bytes()).ok());
  // An entry size of zero would read one header 65535 times and step over none.
  Image none(note(kName, 1, "x"));
  none.header.e_phentsize = 0;
  EXPECT_EQ(find_manifest_note(none.bytes()).status().code(), Code::kInvalidArgument);
}

TEST(ElfNoteTest, HostileNotes) {
  for (const size_t at : {0UL, 4UL}) {  // n_namesz, n_descsz
    for (const uint32_t size : {0xffffffffU, 0xfffffffdU, 0x7fffffffU, 64U}) {
      std::string content = note(kName, 1, "text");
      std::memcpy(content.data() + at, &size, sizeof size);
      EXPECT_FALSE(find_manifest_note(Image(content).bytes()).ok()) << at << " " << size;
    }
  }
  std::string cut = note(kName, 1, "text");
  for (size_t size = 0; size < cut.size(); ++size) {
    EXPECT_FALSE(find_manifest_note(Image(cut.substr(0, size)).bytes()).ok()) << size;
  }
}

TEST(ElfNoteTest, EveryTruncationOfAnImageIsHarmless) {
  const std::string whole = Image(note("GNU\0", 3, "id") + note(kName, 1, "text")).bytes();
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(find_manifest_note(whole.substr(0, size)).ok()) << size;
  }
}

TEST(ElfNoteTest, TheSizeIsLimited) {
  const auto fits =
      find_manifest_note(Image(note(kName, 1, std::string(kMaxManifestBytes, 'x'))).bytes());
  EXPECT_TRUE(fits.ok());
  const auto over =
      find_manifest_note(Image(note(kName, 1, std::string(kMaxManifestBytes + 4, 'x'))).bytes());
  EXPECT_THAT(over.status().message(), HasSubstr("1048580"));
}

TEST(ElfNoteTest, TwoManifestsAreAmbiguous) {
  const auto found = find_manifest_note(Image(note(kName, 1, "a") + note(kName, 1, "b")).bytes());
  EXPECT_EQ(found.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(found.status().message(), HasSubstr("two manifests"));
}

TEST(ElfNoteTest, AnEmptyManifestIsAManifest) {
  const auto found = find_manifest_note(Image(note(kName, 1, "")).bytes());
  ASSERT_TRUE(found.ok()) << found.status().message();
  EXPECT_EQ(*found, "");
}

TEST(ElfNoteTest, NotesAlignedToEightBytes) {
  // Linkers align PT_NOTE segments with .note.gnu.property to eight; names and descriptors then are
  // padded to eight.
  Elf64_Nhdr property{};
  property.n_namesz = 4;
  property.n_descsz = 4;
  property.n_type = 5;
  std::string content;
  append(&content, &property, sizeof property);
  content.append("GNU\0", 4).append("abcd").append(4, '\0');
  Image image(content + note(kName, 1, "text"));
  image.segment.p_align = 8;
  // The header (12) and name (4) end at 16, the descriptor (4) is padded to 24.
  Elf64_Nhdr ours{};
  ours.n_namesz = 6;
  ours.n_descsz = 4;
  ours.n_type = 1;
  image.notes = content;
  append(&image.notes, &ours, sizeof ours);
  image.notes.append(kName).append(6, '\0').append("text").append(4, '\0');
  image.segment.p_filesz = image.notes.size();
  const auto found = find_manifest_note(image.bytes());
  ASSERT_TRUE(found.ok()) << found.status().message();
  EXPECT_EQ(*found, "text");
}

class FileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "berth-manifest-XXXXXX");
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string write(const std::string& name, std::string_view content) {
    const std::string path = directory_ / name;
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }

  std::filesystem::path directory_;
};

TEST_F(FileTest, ReadsAManifestOutOfAFile) {
  const std::string path = write("x.so", Image(note(kName, 1, kFull)).bytes());
  const auto manifest = read_manifest(path);
  ASSERT_TRUE(manifest.ok()) << manifest.status().message();
  EXPECT_EQ(manifest->file, path);
  EXPECT_EQ(manifest->plugins[0].id, "overlayfs");
}

TEST_F(FileTest, MessagesNameTheFile) {
  EXPECT_THAT(read_manifest(directory_ / "none.so").status().message(),
              AllOf(HasSubstr("none.so"), HasSubstr("No such file")));
  EXPECT_THAT(read_manifest(write("text.so", "hello")).status().message(), HasSubstr("text.so"));
  EXPECT_THAT(read_manifest(write("empty.so", "")).status().message(), HasSubstr("empty.so"));
  EXPECT_THAT(read_manifest(directory_).status().message(), HasSubstr(directory_.string()));
  const std::string bad = write("bad.so", Image(note(kName, 1, "manifest = 1\nx = 2\n")).bytes());
  EXPECT_THAT(read_manifest(bad).status().message(), HasSubstr(bad + ":2: unknown key \"x\""));
}

TEST_F(FileTest, AFifoDoesNotBlock) {
  const std::string path = directory_ / "fifo.so";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(read_manifest(path).status().code(), Code::kInvalidArgument);
}

TEST_F(FileTest, ReadsItOutOfARealSharedObject) {
  // The same assembly as plugin-sdk/cmake/entry.cc.in has.
  const std::string toml = write("plugin.toml", kFull);
  const std::string source = write(
      "entry.c",
      "__asm__(\".pushsection .note.berth.manifest,\\\"a\\\",%note\\n.balign 4\\n.long 6\\n"
      ".long 2f - 1f\\n.long 1\\n.asciz \\\"Berth\\\"\\n.balign 4\\n1:\\n.incbin \\\"" +
          toml + "\\\"\\n2:\\n.balign 4\\n.popsection\\n\");\nint entry(void) { return 0; }\n");
  const std::string object = directory_ / "real.so";
  const std::string command = "cc -shared -fPIC -o " + object + " " + source + " 2>/dev/null";
  if (std::system(command.c_str()) != 0) GTEST_SKIP() << "there is no C compiler named cc";
  const auto text = read_manifest_note(object);
  ASSERT_TRUE(text.ok()) << text.status().message();
  EXPECT_EQ(*text, kFull);
  // Stripping, as packagers do it, keeps the note.
  if (std::system(("strip " + object + " 2>/dev/null").c_str()) == 0) {
    EXPECT_EQ(*read_manifest_note(object), kFull);
  }
}

}  // namespace
}  // namespace berth::manifest
