// For the tests of this folder: scratch directories, and archives made byte by byte, so that
// malformed ones can be made.
#pragma once

#include <berth/file_tree.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "byte_source.h"
#include "pax.h"
#include "tar_format.h"

namespace berth::diff_walking::testing {

/// Removed with all that is in it.
class TempDir {
 public:
  TempDir() {
    char pattern[] = "/tmp/berth-diff-test-XXXXXX";
    path_ = ::mkdtemp(pattern);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() { EXPECT_TRUE(berth::remove_tree(path_).ok()); }
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  /// Makes a directory below and returns its path.
  std::string dir(const std::string& name) const {
    std::filesystem::create_directories(*this / name);
    return *this / name;
  }

 private:
  std::string path_;
};

inline void write_file(const std::string& path, std::string_view text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return in ? text.str() : "<no file " + path + ">";
}

/// The files behind loop devices, a line each.
inline std::string loop_files() {
  std::string out;
  for (const auto& device : std::filesystem::directory_iterator("/sys/block")) {
    const std::string file = device.path() / "loop/backing_file";
    if (::access(file.c_str(), F_OK) == 0) out += read_file(file);
  }
  return out;
}

inline struct stat stat_of(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(::lstat(path.c_str(), &info), 0) << path << ": " << std::strerror(errno);
  return info;
}

inline bool exists(const std::string& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0;
}

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

class StringSink final : public ByteSink {
 public:
  Status write(std::span<const std::byte> bytes) override {
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  }
  std::string text;
};

struct RawEntry {
  std::string name;
  char type = '0';
  std::string content = {};
  std::string link = {};
  std::string mode = "0000644";
  std::string uid = "0000000";
  std::string gid = "0000000";
  std::string mtime = "14524770400";  // 1700000000, 2023-11-14
  std::string size = {};              // empty: of the content
  std::string major = "0000000";
  std::string minor = "0000000";
  std::string magic = std::string(
      "ustar\0"
      "00",
      8);
};

/// An archive under construction.
class RawTar {
 public:
  RawTar& add(const RawEntry& entry) {
    TarHeaderBlock header = header_of(entry);
    finish_header(&header);
    append(header);
    return content(entry.content);
  }
  RawTar& file(const std::string& name, const std::string& text) {
    return add({.name = name, .content = text});
  }
  RawTar& dir(const std::string& name, const std::string& mode = "0000755") {
    return add({.name = name, .type = '5', .mode = mode});
  }
  RawTar& symlink(const std::string& name, const std::string& target) {
    return add({.name = name, .type = '2', .link = target, .mode = "0000777"});
  }
  RawTar& hard_link(const std::string& name, const std::string& target) {
    return add({.name = name, .type = '1', .link = target});
  }
  RawTar& pax(const std::vector<std::pair<std::string, std::string>>& records, char type = 'x') {
    std::string text;
    for (const auto& [key, value] : records) text += pax_record(key, value);
    return add({.name = "PaxHeaders.0/x", .type = type, .content = text});
  }
  RawTar& raw(std::string_view bytes) {
    bytes_ += bytes;
    return *this;
  }
  RawTar& content(std::string_view text) {
    bytes_ += text;
    bytes_.append((kTarBlock - text.size() % kTarBlock) % kTarBlock, '\0');
    return *this;
  }
  std::string end() const { return bytes_ + std::string(2 * kTarBlock, '\0'); }
  const std::string& bytes() const { return bytes_; }

  static TarHeaderBlock header_of(const RawEntry& entry) {
    TarHeaderBlock header{};
    put(header.name, entry.name);
    put(header.mode, entry.mode);
    put(header.uid, entry.uid);
    put(header.gid, entry.gid);
    char size[12];
    std::snprintf(size, sizeof size, "%011zo", entry.content.size());
    put(header.size, entry.size.empty() ? size : entry.size);
    put(header.mtime, entry.mtime);
    header.type = entry.type;
    put(header.link_name, entry.link);
    std::memcpy(header.magic, entry.magic.data(), 8);
    put(header.dev_major, entry.major);
    put(header.dev_minor, entry.minor);
    return header;
  }
  static void finish_header(TarHeaderBlock* header) {
    std::memset(header->checksum, ' ', sizeof header->checksum);
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof *header; ++i) {
      sum += reinterpret_cast<const unsigned char*>(header)[i];
    }
    std::snprintf(header->checksum, sizeof header->checksum, "%06o", sum);
  }
  RawTar& append(const TarHeaderBlock& header) {
    bytes_.append(reinterpret_cast<const char*>(&header), sizeof header);
    return *this;
  }

 private:
  template <size_t N>
  static void put(char (&field)[N], std::string_view text) {
    std::memcpy(field, text.data(), std::min(N, text.size()));
  }
  std::string bytes_;
};

}  // namespace berth::diff_walking::testing
