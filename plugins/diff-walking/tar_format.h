// The tar header block, byte for byte, and what an entry says once all its headers are read.
// Sources: POSIX.1-2017 pax "ustar Interchange Format", and the GNU tar manual, "Basic Tar Format".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace berth::diff_walking {

inline constexpr size_t kTarBlock = 512;
/// Longest name or link target accepted, as Linux's PATH_MAX without the terminating NUL.
inline constexpr size_t kMaxTarName = 4095;
/// Largest extended header accepted: names, times and extended attributes of one entry fit with
/// ease.
inline constexpr uint64_t kMaxPaxHeader = 1 << 20;
/// Most extents of one sparse file, and the largest map of them in GNU's format 1.0.
inline constexpr size_t kMaxSparseExtents = 1 << 18;
inline constexpr uint64_t kMaxSparseMap = 8 << 20;

/// One header block. Fields are not NUL-terminated when they are full.
struct TarHeaderBlock {
  char name[100];
  char mode[8];
  char uid[8];
  char gid[8];
  char size[12];
  char mtime[12];
  char checksum[8];
  char type;
  char link_name[100];
  char magic[6];    // "ustar" NUL in POSIX archives, "ustar " in GNU ones
  char version[2];  // "00", or " " NUL
  char user_name[32];
  char group_name[32];
  char dev_major[8];
  char dev_minor[8];
  char prefix[155];  // POSIX only; GNU keeps times and the map of a sparse file here
  char padding[12];
};
static_assert(sizeof(TarHeaderBlock) == kTarBlock);

/// Seconds and nanoseconds since 1970; nanoseconds are never negative.
struct TarTime {
  int64_t seconds = 0;
  int32_t nanoseconds = 0;
  friend auto operator<=>(const TarTime&, const TarTime&) = default;
};

enum class TarType : char {
  kFile = '0',
  kHardLink = '1',
  kSymlink = '2',
  kCharDevice = '3',
  kBlockDevice = '4',
  kDirectory = '5',
  kFifo = '6',
};

struct TarEntry {
  TarType type = TarType::kFile;
  /// As the archive says it: may be absolute, may have "..", may end in "/". Never empty, no NUL.
  std::string name;
  /// Of links, as the archive says it. No NUL.
  std::string link_target;
  /// Permission bits with set-uid, set-gid and sticky: 07777 at most.
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  /// Of the file's content once extracted, holes included. 0 for all but files.
  uint64_t size = 0;
  TarTime mtime;
  /// The same as mtime when the archive does not say.
  TarTime atime;
  uint32_t dev_major = 0;
  uint32_t dev_minor = 0;
  /// Names with their namespace ("security.capability"), values as bytes.
  std::vector<std::pair<std::string, std::string>> xattrs;
  /// The content has holes.
  bool sparse = false;
};

}  // namespace berth::diff_walking
