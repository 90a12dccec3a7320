// Archives made entry by entry, so that there can be wrong ones, and what compresses them.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::ctl::validate {

struct Entry {
  std::string name;
  char type = '0';  // as ustar has it: 0 file, 1 hard link, 2 symbolic link, 3 and 4 devices, 5, 6
  std::string content = {};
  std::string link = {};
  unsigned mode = 0644;
  unsigned uid = 0;
  unsigned gid = 0;
  long long mtime = 1'600'000'000;
  unsigned major = 0;
  unsigned minor = 0;
  long long size = -1;  // what the header claims; -1: the truth
};

/// A tar archive under construction.
class Archive {
 public:
  Archive& add(const Entry& entry);
  Archive& file(const std::string& name, const std::string& content) {
    return add({.name = name, .content = content});
  }
  Archive& dir(const std::string& name, unsigned mode = 0755) {
    return add({.name = name, .type = '5', .mode = mode});
  }
  Archive& symlink(const std::string& name, const std::string& to) {
    return add({.name = name, .type = '2', .link = to, .mode = 0777});
  }
  Archive& hard_link(const std::string& name, const std::string& to) {
    return add({.name = name, .type = '1', .link = to});
  }
  /// Records for the next entry: "path", "mtime", "SCHILY.xattr.user.x", …
  Archive& pax(const std::vector<std::pair<std::string, std::string>>& records);
  Archive& raw(std::string_view bytes) {
    bytes_ += bytes;
    return *this;
  }
  /// With the two blocks that end it.
  std::string end() const { return bytes_ + std::string(1024, '\0'); }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

/// One member; several behind one another are one stream to gzip and to zstd.
std::string gzipped(std::string_view bytes);
std::string zstd_compressed(std::string_view bytes);
/// Told apart by their first bytes; what is not compressed stays. Empty when it is broken.
std::string decompressed(const std::string& bytes);

}  // namespace berth::ctl::validate
