// Extended headers: "LENGTH keyword=value\n" records of POSIX pax, with the keywords of GNU tar,
// star and libarchive that matter for a layer.
#pragma once

#include <berth/status.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tar_format.h"

namespace berth::diff_walking {

struct SparseExtent {
  uint64_t offset = 0;
  uint64_t size = 0;
};

/// The records of one extended header that change an entry. Absent means: as the header block says.
struct PaxRecords {
  std::optional<std::string> path;
  std::optional<std::string> link_path;
  std::optional<uint64_t> size;
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
  std::optional<TarTime> mtime;
  std::optional<TarTime> atime;
  std::vector<std::pair<std::string, std::string>> xattrs;

  // GNU sparse files, formats 0.0 (offset and numbytes), 0.1 (map) and 1.0 (map before the data).
  std::optional<uint64_t> sparse_major;
  std::optional<uint64_t> sparse_minor;
  std::optional<std::string> sparse_name;
  std::optional<uint64_t> sparse_size;
  std::vector<SparseExtent> sparse_extents;
  bool sparse = false;
};

/// Adds the records of `text` to `records`; later ones replace earlier ones. INVALID_ARGUMENT for
/// whatever does not follow the format. A record whose value is empty removes what was known, as
/// POSIX asks.
Status parse_pax_records(std::string_view text, PaxRecords* records);

/// A decimal number without sign that fills the whole text.
std::optional<uint64_t> parse_decimal(std::string_view text);

/// One record, with its own length in front: the inverse of parsing.
std::string pax_record(std::string_view keyword, std::string_view value);

}  // namespace berth::diff_walking
