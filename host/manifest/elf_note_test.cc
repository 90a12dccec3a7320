#include "manifest/elf_note.h"

#include <elf.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "manifest/manifest.h"

namespace berth::manifest {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::string_view kFull = R"(manifest = 1
abi = { major = 0, minor = 1 }
[[plugin]]
type = "io.containerd.snapshotter.v1"
id = "overlayfs"
version = "0.1.0"
)";
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

TEST(ElfNoteTest, AFileThatIsCutOff) {
  Image image(note(kName, 1, "x"));
  image.header.e_phnum = 2;
  Elf64_Phdr loaded{};
  loaded.p_type = PT_LOAD;
  loaded.p_filesz = sizeof image.header + 2 * sizeof loaded + 100;
  image.segment.p_offset += sizeof loaded;
  image.notes.insert(0, reinterpret_cast<const char*>(&loaded), sizeof loaded);
  std::string bytes = image.bytes();
  bytes.resize(loaded.p_filesz);
  EXPECT_TRUE(find_manifest_note(bytes).ok());
  bytes.pop_back();
  EXPECT_THAT(find_manifest_note(bytes).status().message(), HasSubstr("it is cut off: it has"));
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
  EXPECT_THAT(found.status().message(), HasSubstr("2 manifests"));
}

TEST(ElfNoteTest, SectionsServeWhereNoSegmentHasTheNote) {
  Image image(note(kName, 1, "text"));
  const size_t notes = image.notes.size();
  Elf64_Shdr section{};
  section.sh_type = SHT_NOTE;
  section.sh_offset = image.segment.p_offset;
  section.sh_size = notes;
  section.sh_addralign = 4;
  image.segment.p_type = PT_LOAD;
  image.header.e_shoff = image.segment.p_offset + notes;
  image.header.e_shentsize = sizeof section;
  image.header.e_shnum = 1;
  append(&image.notes, &section, sizeof section);
  const std::string bytes = image.bytes();  // the result borrows from it
  const auto found = find_manifest_note(bytes);
  ASSERT_TRUE(found.ok()) << found.status().message();
  EXPECT_EQ(*found, "text");
  for (const uint64_t offset : {~0UL, ~0UL - 10, 1UL << 40, image.header.e_shoff + 1}) {
    Image moved = image;
    moved.header.e_shoff = offset;
    EXPECT_FALSE(find_manifest_note(moved.bytes()).ok()) << offset;
  }
}

TEST(ElfNoteTest, AnEmptyManifestIsAManifest) {
  const std::string bytes = Image(note(kName, 1, "")).bytes();
  const auto found = find_manifest_note(bytes);
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
  const std::string bytes = image.bytes();  // the result borrows from it
  const auto found = find_manifest_note(bytes);
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
