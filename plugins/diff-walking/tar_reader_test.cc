#include "tar_reader.h"

#include <gmock/gmock.h>

#include "testing.h"

namespace berth::diff_walking {
namespace {

using testing::bytes_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using testing::RawEntry;
using testing::RawTar;

struct Read {
  std::vector<TarEntry> entries;
  std::vector<std::string> contents;  // holes as zero bytes
  Status status;
};

Read read_all(const std::string& archive, size_t piece = 7) {
  MemorySource source(bytes_of(archive), piece);
  TarReader reader(&source);
  Read out;
  while (true) {
    TarEntry entry;
    const Result<bool> more = reader.next(&entry);
    if (!more.ok() || !*more) {
      out.status = more.status();
      return out;
    }
    std::string content;
    while (true) {
      const Result<TarReader::Chunk> chunk = reader.read();
      if (!chunk.ok()) {
        out.status = chunk.status();
        return out;
      }
      if (chunk->bytes.empty()) break;
      content.resize(chunk->offset, '\0');
      content.append(reinterpret_cast<const char*>(chunk->bytes.data()), chunk->bytes.size());
    }
    if (entry.sparse) content.resize(entry.size, '\0');
    out.entries.push_back(entry);
    out.contents.push_back(content);
  }
}

void expect_refused(const std::string& archive, Code code, const std::string& why) {
  const Read read = read_all(archive);
  EXPECT_EQ(read.status.code(), code) << read.status.to_string();
  EXPECT_THAT(read.status.message(), HasSubstr(why));
}

TEST(TarReaderTest, ReadsUstarInPiecesOfAnySize) {
  RawTar tar;
  tar.dir("etc/").add({.name = "etc/passwd",
                       .content = std::string(1000, 'p'),
                       .mode = "0004755",
                       .uid = "0001750",
                       .gid = "0000012"});
  tar.symlink("etc/link", "../x").hard_link("etc/same", "etc/passwd");
  tar.add({.name = "dev/null", .type = '3', .major = "0000001", .minor = "0000003"});
  for (const size_t piece : {size_t{1}, size_t{511}, size_t{512}, size_t{100000}}) {
    const Read read = read_all(tar.end(), piece);
    ASSERT_TRUE(read.status.ok()) << read.status.to_string();
    ASSERT_EQ(read.entries.size(), 5u);
    EXPECT_EQ(read.entries[0].type, TarType::kDirectory);
    EXPECT_EQ(read.entries[1].mode, 04755u);
    EXPECT_EQ(read.entries[1].uid, 1000u);
    EXPECT_EQ(read.entries[1].gid, 10u);
    EXPECT_EQ(read.entries[1].mtime, (TarTime{1700000000, 0}));
    EXPECT_EQ(read.contents[1], std::string(1000, 'p'));
    EXPECT_EQ(read.entries[2].link_target, "../x");
    EXPECT_EQ(read.entries[3].type, TarType::kHardLink);
    EXPECT_EQ(read.entries[4].dev_major, 1u);
    EXPECT_EQ(read.entries[4].dev_minor, 3u);
  }
}

TEST(TarReaderTest, UsesThePrefixOfPosixHeadersOnly) {
  TarHeaderBlock header = RawTar::header_of({.name = "name"});
  std::memcpy(header.prefix, "some/dir", 8);
  RawTar::finish_header(&header);
  EXPECT_EQ(read_all(RawTar().append(header).end()).entries.at(0).name, "some/dir/name");
  std::memcpy(header.magic, "ustar  ", 8);
  RawTar::finish_header(&header);
  EXPECT_EQ(read_all(RawTar().append(header).end()).entries.at(0).name, "name");
}

TEST(TarReaderTest, ReadsPaxRecords) {
  const std::string long_name = std::string(300, 'a') + "/\xc3\xa4";
  RawTar tar;
  tar.pax({{"path", long_name},
           {"uid", "3000000000"},
           {"gid", "4"},
           {"mtime", "1350244992.023960108"},
           {"atime", "-1.5"},
           {"SCHILY.xattr.user.text", std::string("a=b\n\0c", 6)},
           {"LIBARCHIVE.xattr.user.b%25", "aGk="},
           {"comment", "nothing"}});
  tar.file("short", "data").file("next", "");
  const Read read = read_all(tar.end());
  ASSERT_TRUE(read.status.ok()) << read.status.to_string();
  const TarEntry& entry = read.entries.at(0);
  EXPECT_EQ(entry.name, long_name);
  EXPECT_EQ(entry.uid, 3000000000u);
  EXPECT_EQ(entry.gid, 4u);
  EXPECT_EQ(entry.mtime, (TarTime{1350244992, 23960108}));
  EXPECT_EQ(entry.atime, (TarTime{-2, 500000000}));
  EXPECT_THAT(entry.xattrs,
              ElementsAre(Pair("user.text", std::string("a=b\n\0c", 6)), Pair("user.b%", "hi")));
  EXPECT_EQ(read.entries.at(1).name, "next");
  EXPECT_TRUE(read.entries.at(1).xattrs.empty()) << "records belong to one entry";
}

TEST(TarReaderTest, GlobalRecordsAreDefaults) {
  RawTar tar;
  tar.pax({{"uid", "7"}, {"gid", "8"}}, 'g').file("a", "").pax({{"uid", "9"}}).file("b", "");
  const Read read = read_all(tar.end());
  ASSERT_TRUE(read.status.ok()) << read.status.to_string();
  EXPECT_EQ(read.entries.at(0).uid, 7u);
  EXPECT_EQ(read.entries.at(1).uid, 9u);
  EXPECT_EQ(read.entries.at(1).gid, 8u);
  expect_refused(RawTar().pax({{"path", "x"}}, 'g').file("a", "").end(), Code::kInvalidArgument,
                 "global");
}

TEST(TarReaderTest, ReadsGnuLongNames) {
  const std::string gnu_magic("ustar  \0", 8);
  RawTar tar;
  tar.add({.name = "././@LongLink", .type = 'L', .content = std::string(200, 'n') + '\0'});
  tar.add({.name = "././@LongLink", .type = 'K', .content = std::string(150, 't') + '\0'});
  tar.add({.name = "cut", .type = '2', .link = "cut", .magic = gnu_magic});
  const Read read = read_all(tar.end());
  ASSERT_TRUE(read.status.ok()) << read.status.to_string();
  EXPECT_EQ(read.entries.at(0).name, std::string(200, 'n'));
  EXPECT_EQ(read.entries.at(0).link_target, std::string(150, 't'));
}

TEST(TarReaderTest, ReadsBase256Numbers) {
  RawEntry entry{.name = "big", .uid = std::string("\x80\0\0\0\x7f\xff\xff\xff", 8)};
  entry.mtime = std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", 12);
  const Read read = read_all(RawTar().add(entry).end());
  ASSERT_TRUE(read.status.ok()) << read.status.to_string();
  EXPECT_EQ(read.entries.at(0).uid, 0x7fffffffu);
  EXPECT_EQ(read.entries.at(0).mtime.seconds, -2);
  entry.mtime = std::string("\x80\x01\0\0\0\0\0\0\0\0\0\0", 12);  // more than 63 bits
  expect_refused(RawTar().add(entry).end(), Code::kInvalidArgument, "modification time");
}

TEST(TarReaderTest, ReadsSparseFilesOfAllPaxFormats) {
  const std::string expected =
      std::string(4, '\0') + "abc" + std::string(3, '\0') + "xy" + std::string(8, '\0');
  RawTar zero;
  zero.pax({{"GNU.sparse.size", "20"},
            {"GNU.sparse.numblocks", "2"},
            {"GNU.sparse.offset", "4"},
            {"GNU.sparse.numbytes", "3"},
            {"GNU.sparse.offset", "10"},
            {"GNU.sparse.numbytes", "2"}});
  zero.file("s", "abcxy");
  RawTar one;
  one.pax({{"GNU.sparse.size", "20"}, {"GNU.sparse.name", "real"}, {"GNU.sparse.map", "4,3,10,2"}});
  one.file("GNUSparseFile.1/s", "abcxy");
  std::string map = "2\n4\n3\n10\n2\n";
  map.resize(512, '\0');
  RawTar two;
  two.pax({{"GNU.sparse.major", "1"},
           {"GNU.sparse.minor", "0"},
           {"GNU.sparse.name", "real"},
           {"GNU.sparse.realsize", "20"}});
  two.file("GNUSparseFile.1/s", map + "abcxy").file("after", "!");
  for (const RawTar* tar : {&zero, &one, &two}) {
    const Read read = read_all(tar->end());
    ASSERT_TRUE(read.status.ok()) << read.status.to_string();
    EXPECT_EQ(read.entries.at(0).name, tar == &zero ? "s" : "real");
    EXPECT_EQ(read.entries.at(0).size, 20u);
    EXPECT_EQ(read.contents.at(0), expected);
  }
  EXPECT_EQ(read_all(two.end()).contents.at(1), "!");
}

TEST(TarReaderTest, ReadsOldGnuSparseFilesWithExtensions) {
  TarHeaderBlock header = RawTar::header_of(
      {.name = "s", .type = 'S', .content = "abcde", .magic = std::string("ustar  \0", 8)});
  auto* raw = reinterpret_cast<char*>(&header);
  const auto put = [](char* at, const char* offset, const char* size) {
    std::memcpy(at, offset, 12);
    std::memcpy(at + 12, size, 12);
  };
  put(raw + 386, "00000000000", "00000000001");
  put(raw + 410, "00000000002", "00000000001");
  put(raw + 434, "00000000004", "00000000001");
  put(raw + 458, "00000000006", "00000000001");
  raw[482] = 1;
  std::memcpy(raw + 483, "00000000012", 12);
  RawTar::finish_header(&header);
  std::string extension(512, '\0');
  put(extension.data(), "00000000010", "00000000001");
  const Read read =
      read_all(RawTar().append(header).raw(extension).content("abcde").file("t", "t").end());
  ASSERT_TRUE(read.status.ok()) << read.status.to_string();
  EXPECT_EQ(read.contents.at(0), std::string("a\0b\0c\0d\0e\0", 10));
  EXPECT_EQ(read.contents.at(1), "t");
}

TEST(TarReaderTest, RefusesSparseMapsThatDoNotFit) {
  const auto sparse = [](const std::string& size, const std::string& map) {
    RawTar tar;
    tar.pax({{"GNU.sparse.size", size}, {"GNU.sparse.map", map}}).file("s", "abcxy");
    return tar.end();
  };
  expect_refused(sparse("20", "4,3,5,2"), Code::kInvalidArgument, "overlap");
  expect_refused(sparse("11", "4,3,10,2"), Code::kInvalidArgument, "beyond");
  expect_refused(sparse("20", "4,3,10,1"), Code::kInvalidArgument, "add up");
  expect_refused(sparse("20", "4,18446744073709551615"), Code::kInvalidArgument, "");
  expect_refused(sparse("20", "4"), Code::kInvalidArgument, "map");
}

TEST(TarReaderTest, TruncationIsAnError) {
  const std::string archive = RawTar().file("file", std::string(700, 'x')).end();
  expect_refused(archive.substr(0, 300), Code::kOutOfRange, "within a header");
  expect_refused(archive.substr(0, 700), Code::kOutOfRange, "content of \"file\"");
  expect_refused(archive.substr(0, 512 + 700), Code::kOutOfRange, "content of \"file\"");
  expect_refused(RawTar().pax({{"path", "x"}}).bytes(), Code::kOutOfRange, "within a header");
}

TEST(TarReaderTest, EndsWithTwoZeroBlocksOrWithTheStream) {
  const RawTar tar = RawTar().file("a", "1");
  EXPECT_TRUE(read_all(tar.bytes()).status.ok());
  EXPECT_TRUE(read_all(tar.bytes() + std::string(512, '\0')).status.ok());
  EXPECT_TRUE(read_all(tar.end() + "garbage that belongs to nobody").status.ok());
  expect_refused(tar.bytes() + std::string(512, '\0') + RawTar().file("b", "").end(),
                 Code::kInvalidArgument, "single zero block");
}

TEST(TarReaderTest, ChecksTheChecksum) {
  std::string archive = RawTar().file("file", "text").end();
  archive[0] = 'g';
  expect_refused(archive, Code::kInvalidArgument, "checksum");
}

TEST(TarReaderTest, RefusesWhatDoesNotFollowTheFormat) {
  expect_refused(RawTar().add({.name = "x", .mode = "000z644"}).end(), Code::kInvalidArgument,
                 "mode");
  expect_refused(RawTar().add({.name = "x", .size = "0000000 123"}).end(), Code::kInvalidArgument,
                 "size");
  expect_refused(RawTar().add({.name = "x", .type = 'V'}).end(), Code::kInvalidArgument,
                 "type 'V'");
  expect_refused(RawTar().add({.name = ""}).end(), Code::kInvalidArgument, "no name");
  expect_refused(RawTar().symlink("x", "").end(), Code::kInvalidArgument, "no target");
  expect_refused(RawTar().add({.name = "x", .type = '3', .major = "0777777"}).end(),
                 Code::kInvalidArgument, "device number");
  expect_refused(RawTar().pax({{"uid", "4294967295"}}).file("x", "").end(), Code::kInvalidArgument,
                 "uid");
  expect_refused(RawTar().pax({{"mtime", "1e9"}}).file("x", "").end(), Code::kInvalidArgument,
                 "mtime");
  expect_refused(RawTar().pax({{"path", std::string("a\0b", 3)}}).file("x", "").end(),
                 Code::kInvalidArgument, "path");
  expect_refused(RawTar().pax({{"path", std::string(5000, 'a')}}).file("x", "").end(),
                 Code::kInvalidArgument, "path");
  const auto records = [](const std::string& text) {
    return RawTar().add({.name = "p", .type = 'x', .content = text}).file("x", "").end();
  };
  expect_refused(records("99 path=a\n"), Code::kInvalidArgument, "length");
  expect_refused(records("x path=a\n"), Code::kInvalidArgument, "length");
  expect_refused(records("10 path=ab"), Code::kInvalidArgument, "length");
  expect_refused(records("8 pathx\n"), Code::kInvalidArgument, "keyword");
}

// Memory is taken for what an archive announces only within bounds.
TEST(TarReaderTest, BoundsExtendedHeaders) {
  expect_refused(RawTar().add({.name = "p", .type = 'x', .size = "77777777777"}).end(),
                 Code::kInvalidArgument, "larger than");
  expect_refused(RawTar().add({.name = "p", .type = 'L', .size = "00000020000"}).end(),
                 Code::kInvalidArgument, "larger than");
}

TEST(TarReaderTest, AnEmptyValueRemovesARecord) {
  RawTar tar;
  tar.pax({{"path", "other"}, {"path", ""}}).file("name", "");
  EXPECT_EQ(read_all(tar.end()).entries.at(0).name, "name");
}

TEST(TarReaderTest, PaxRecordCountsItsOwnDigits) {
  EXPECT_EQ(pax_record("path", "a"), "9 path=a\n");
  EXPECT_EQ(pax_record("path", ""), "8 path=\n");
  for (size_t size = 80; size < 120; ++size) {
    const std::string record = pax_record("path", std::string(size, 'a'));
    EXPECT_EQ(record.size(), std::stoul(record));
  }
}

}  // namespace
}  // namespace berth::diff_walking
