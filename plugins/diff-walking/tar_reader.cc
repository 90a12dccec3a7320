#include "tar_reader.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace berth::diff_walking {
namespace {

constexpr uint64_t kMaxSize = std::numeric_limits<int64_t>::max();

template <size_t N>
std::string_view text_of(const char (&field)[N]) {
  return {field, strnlen(field, N)};
}

/// Octal digits with blanks around them, or GNU's base 256: the first bit set, then a big-endian
/// two's complement. Nothing for anything else and for values beyond 63 bits. An empty field is 0.
template <size_t N>
std::optional<int64_t> number_of(const char (&field)[N]) {
  const auto first = static_cast<unsigned char>(field[0]);
  if ((first & 0x80) != 0) {
    const bool negative = (first & 0x40) != 0;
    uint64_t value = negative ? ~uint64_t{0} : 0;
    for (size_t i = 0; i < N; ++i) {
      auto byte = static_cast<unsigned char>(field[i]);
      if (i == 0) byte = negative ? byte : byte & 0x7f;
      // The byte that is about to leave must be nothing but sign.
      if (value >> 56 != (negative ? 0xffu : 0u)) return std::nullopt;
      value = value << 8 | byte;
    }
    if ((value >> 63 != 0) != negative) return std::nullopt;
    return static_cast<int64_t>(value);
  }
  std::string_view text = text_of(field);
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  uint64_t value = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '7' || value >> 60 != 0) return std::nullopt;
    value = value << 3 | static_cast<uint64_t>(digit - '0');
  }
  return static_cast<int64_t>(value);
}

bool all_zero(const TarHeaderBlock& header) {
  const auto* bytes = reinterpret_cast<const char*>(&header);
  return std::all_of(bytes, bytes + sizeof header, [](char byte) { return byte == 0; });
}

/// The sum of all bytes with the field of the sum as blanks. Some old programs added signed bytes.
bool checksum_holds(const TarHeaderBlock& header) {
  const std::optional<int64_t> wanted = number_of(header.checksum);
  if (!wanted) return false;
  const auto* bytes = reinterpret_cast<const unsigned char*>(&header);
  int64_t unsigned_sum = 0;
  int64_t signed_sum = 0;
  for (size_t i = 0; i < sizeof header; ++i) {
    const bool in_field = i >= offsetof(TarHeaderBlock, checksum) &&
                          i < offsetof(TarHeaderBlock, checksum) + sizeof header.checksum;
    const unsigned char byte = in_field ? ' ' : bytes[i];
    unsigned_sum += byte;
    signed_sum += static_cast<signed char>(byte);
  }
  return *wanted == unsigned_sum || *wanted == signed_sum;
}

bool is_posix(const TarHeaderBlock& header) { return std::memcmp(header.magic, "ustar\0", 6) == 0; }
bool is_gnu(const TarHeaderBlock& header) { return std::memcmp(header.magic, "ustar ", 6) == 0; }

uint64_t padding_of(uint64_t size) { return (kTarBlock - size % kTarBlock) % kTarBlock; }

std::optional<uint32_t> id_of(std::optional<int64_t> number) {
  // The last id means "leave it as it is" to chown.
  if (!number || *number < 0 || *number >= std::numeric_limits<uint32_t>::max()) {
    return std::nullopt;
  }
  return static_cast<uint32_t>(*number);
}

}  // namespace

Status TarReader::error(std::string message) const {
  return invalid_argument("tar: " + (name_.empty() ? std::string() : "\"" + name_ + "\": ") +
                          std::move(message) + " (header before byte " + std::to_string(position_) +
                          ")");
}

Status TarReader::refill() {
  BERTH_ASSIGN_OR_RETURN(window_, source_->next());
  if (window_.empty()) source_ended_ = true;
  return {};
}

Result<size_t> TarReader::read_some(void* out, size_t size) {
  size_t done = 0;
  while (done < size) {
    if (window_.empty()) {
      if (!source_ended_) BERTH_RETURN_IF_ERROR(refill());
      if (source_ended_) break;
    }
    const size_t count = std::min(size - done, window_.size());
    std::memcpy(static_cast<std::byte*>(out) + done, window_.data(), count);
    window_ = window_.subspan(count);
    done += count;
  }
  position_ += done;
  return done;
}

Status TarReader::read_exactly(void* out, size_t size, std::string_view what) {
  BERTH_ASSIGN_OR_RETURN(const size_t got, read_some(out, size));
  if (got == size) return {};
  return out_of_range("tar: the archive ends after " + std::to_string(position_) +
                      " bytes, within " + std::string(what));
}

Result<bool> TarReader::read_block(void* block, Ends ends) {
  BERTH_ASSIGN_OR_RETURN(const size_t got, read_some(block, kTarBlock));
  if (got == kTarBlock) return true;
  if (got == 0 && ends == Ends::kAllowed) return false;
  return out_of_range("tar: the archive ends after " + std::to_string(position_) +
                      " bytes, within a header");
}

Status TarReader::skip(uint64_t size) {
  while (size > 0) {
    if (window_.empty()) {
      if (!source_ended_) BERTH_RETURN_IF_ERROR(refill());
      if (source_ended_) {
        return out_of_range("tar: the archive ends after " + std::to_string(position_) +
                            " bytes, within the content of \"" + name_ + "\"");
      }
    }
    const size_t count = static_cast<size_t>(std::min<uint64_t>(size, window_.size()));
    window_ = window_.subspan(count);
    position_ += count;
    size -= count;
  }
  return {};
}

Result<std::string> TarReader::read_extended(const TarHeaderBlock& header, uint64_t limit) {
  const std::optional<int64_t> size = number_of(header.size);
  if (!size || *size < 0 || static_cast<uint64_t>(*size) > limit) {
    return error("an extended header of type '" + std::string(1, header.type) +
                 "' is larger than " + std::to_string(limit) + " bytes or has no valid size");
  }
  std::string text(static_cast<size_t>(*size), '\0');
  BERTH_RETURN_IF_ERROR(read_exactly(text.data(), text.size(), "an extended header"));
  BERTH_RETURN_IF_ERROR(skip(padding_of(text.size())));
  return text;
}

Result<bool> TarReader::read_headers(TarHeaderBlock* header, PaxRecords* records,
                                     std::string* long_name, std::string* long_link) {
  Ends ends = Ends::kAllowed;
  while (true) {
    BERTH_ASSIGN_OR_RETURN(const bool got, read_block(header, ends));
    // Go's reader, and so containerd, takes an archive without the closing blocks; a cut stream is
    // noticed by the digest of the blob, and by the compression.
    if (!got) return false;
    if (all_zero(*header)) {
      if (ends == Ends::kTruncated) return error("the archive ends after an extended header");
      // Two zero blocks close an archive. After one alone some readers go on and others stop:
      // refused, as by Go's.
      BERTH_ASSIGN_OR_RETURN(const bool second, read_block(header, Ends::kAllowed));
      if (second && !all_zero(*header)) return error("data follows a single zero block");
      return false;
    }
    if (!checksum_holds(*header)) return error("the checksum of a header does not match");
    switch (header->type) {
      case 'x': {
        BERTH_ASSIGN_OR_RETURN(const std::string text, read_extended(*header, kMaxPaxHeader));
        *records = global_;
        BERTH_RETURN_IF_ERROR(parse_pax_records(text, records));
        ends = Ends::kTruncated;
        break;
      }
      case 'g': {
        BERTH_ASSIGN_OR_RETURN(const std::string text, read_extended(*header, kMaxPaxHeader));
        BERTH_RETURN_IF_ERROR(parse_pax_records(text, &global_));
        if (global_.path || global_.link_path || global_.size || global_.sparse) {
          return error("a global extended header gives one name, size or map to all entries");
        }
        *records = global_;
        break;
      }
      case 'L':
      case 'K': {
        BERTH_ASSIGN_OR_RETURN(std::string text, read_extended(*header, kMaxTarName + 1));
        while (text.ends_with('\0')) text.pop_back();
        if (text.empty() || text.size() > kMaxTarName || text.find('\0') != std::string::npos) {
          return error("a GNU long name is empty, too long, or has a NUL in it");
        }
        (header->type == 'L' ? *long_name : *long_link) = std::move(text);
        ends = Ends::kTruncated;
        break;
      }
      default:
        return true;
    }
  }
}

Result<bool> TarReader::next(TarEntry* entry) {
  if (archive_ended_) return false;
  BERTH_RETURN_IF_ERROR(skip(remaining_));
  remaining_ = 0;
  BERTH_RETURN_IF_ERROR(skip(padding_));
  padding_ = 0;
  name_.clear();
  extents_.clear();
  extent_ = 0;
  extent_done_ = 0;

  TarHeaderBlock header;
  PaxRecords records = global_;
  std::string long_name;
  std::string long_link;
  BERTH_ASSIGN_OR_RETURN(const bool more, read_headers(&header, &records, &long_name, &long_link));
  if (!more) {
    archive_ended_ = true;
    return false;
  }

  *entry = TarEntry();
  if (records.sparse_name) {
    entry->name = *records.sparse_name;
  } else if (records.path) {
    entry->name = *records.path;
  } else if (!long_name.empty()) {
    entry->name = std::move(long_name);
  } else {
    if (is_posix(header)) entry->name = text_of(header.prefix);
    if (!entry->name.empty()) entry->name += '/';
    entry->name += text_of(header.name);
  }
  name_ = entry->name;
  if (name_.empty()) return error("an entry has no name");
  entry->link_target = records.link_path    ? *records.link_path
                       : !long_link.empty() ? std::move(long_link)
                                            : std::string(text_of(header.link_name));
  BERTH_RETURN_IF_ERROR(fill_entry(header, records, entry));
  BERTH_RETURN_IF_ERROR(begin_content(header, records, entry));
  return true;
}

Status TarReader::fill_entry(const TarHeaderBlock& header, const PaxRecords& records,
                             TarEntry* entry) {
  switch (header.type) {
    case '\0':  // before POSIX, directories were files whose name ends in a slash
      entry->type = name_.ends_with('/') ? TarType::kDirectory : TarType::kFile;
      break;
    case '0':
    case '7':  // "contiguous", a file everywhere but on systems of the eighties
    case 'S':
      entry->type = TarType::kFile;
      break;
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
      entry->type = static_cast<TarType>(header.type);
      break;
    default:
      return error("entries of type '" + std::string(1, header.type) + "' are not supported");
  }
  const std::optional<int64_t> mode = number_of(header.mode);
  if (!mode || *mode < 0) return error("the mode is not a number");
  entry->mode = static_cast<uint32_t>(*mode & 07777);

  const std::optional<uint32_t> uid = records.uid ? records.uid : id_of(number_of(header.uid));
  const std::optional<uint32_t> gid = records.gid ? records.gid : id_of(number_of(header.gid));
  if (!uid || !gid) return error("the owner is not a number below 4294967295");
  entry->uid = *uid;
  entry->gid = *gid;

  const std::optional<int64_t> seconds = number_of(header.mtime);
  if (!records.mtime && !seconds) return error("the modification time is not a number");
  entry->mtime = records.mtime ? *records.mtime : TarTime{*seconds, 0};
  entry->atime = records.atime ? *records.atime : entry->mtime;

  if (entry->type == TarType::kCharDevice || entry->type == TarType::kBlockDevice) {
    // 12 and 20 bits are what Linux has for them; more would be cut off and name another device.
    const std::optional<int64_t> major = number_of(header.dev_major);
    const std::optional<int64_t> minor = number_of(header.dev_minor);
    if (!major || !minor || *major < 0 || *minor < 0 || *major >= 1 << 12 || *minor >= 1 << 20) {
      return error("the device number is out of range");
    }
    entry->dev_major = static_cast<uint32_t>(*major);
    entry->dev_minor = static_cast<uint32_t>(*minor);
  }
  const bool link = entry->type == TarType::kHardLink || entry->type == TarType::kSymlink;
  if (link && entry->link_target.empty()) return error("a link has no target");
  entry->xattrs = records.xattrs;
  return {};
}

Status TarReader::begin_content(const TarHeaderBlock& header, const PaxRecords& records,
                                TarEntry* entry) {
  const std::optional<int64_t> in_header = number_of(header.size);
  if (!records.size && (!in_header || *in_header < 0)) return error("the size is not a number");
  // Only files have content; the size of a hard link or a directory, which some programs fill in,
  // is ignored.
  if (entry->type != TarType::kFile) return {};
  remaining_ = records.size ? *records.size : static_cast<uint64_t>(*in_header);
  padding_ = padding_of(remaining_);

  if (header.type == 'S') {
    if (!is_gnu(header)) return error("an old GNU sparse file in an archive that is not GNU's");
    BERTH_RETURN_IF_ERROR(read_old_sparse_map(header, entry));
  } else if (records.sparse) {
    if (!records.sparse_size) return error("a sparse file has no size");
    entry->sparse = true;
    entry->size = *records.sparse_size;
    if (records.sparse_major.value_or(0) == 1 && records.sparse_minor.value_or(0) == 0) {
      BERTH_RETURN_IF_ERROR(read_sparse_map_before_data());
    } else if (records.sparse_major.value_or(0) == 0) {
      extents_ = records.sparse_extents;
    } else {
      return error("a sparse file of an unknown format");
    }
  } else {
    entry->size = remaining_;
    extents_.push_back({0, remaining_});
  }
  return check_extents(*entry);
}

Status TarReader::read_old_sparse_map(const TarHeaderBlock& header, TarEntry* entry) {
  struct Extent {
    char offset[12];
    char size[12];
  };
  struct Extension {
    Extent extents[21];
    char more;
    char padding[7];
  };
  static_assert(sizeof(Extension) == kTarBlock);
  // Where GNU puts them in the header: four extents at 386, "more" at 482, the size with holes at
  // 483.
  const auto* raw = reinterpret_cast<const char*>(&header);
  Extent extents[21];
  std::memcpy(extents, raw + 386, 4 * sizeof(Extent));
  bool more = raw[482] != 0;
  char real_size[12];
  std::memcpy(real_size, raw + 483, sizeof real_size);
  const std::optional<int64_t> size = number_of(real_size);
  if (!size || *size < 0) return error("the size of a sparse file is not a number");
  entry->sparse = true;
  entry->size = static_cast<uint64_t>(*size);

  size_t count = 4;
  while (true) {
    for (size_t i = 0; i < count; ++i) {
      if (extents[i].offset[0] == 0 && extents[i].size[0] == 0) break;
      const std::optional<int64_t> offset = number_of(extents[i].offset);
      const std::optional<int64_t> length = number_of(extents[i].size);
      if (!offset || !length || *offset < 0 || *length < 0) {
        return error("the map of a sparse file is malformed");
      }
      extents_.push_back({static_cast<uint64_t>(*offset), static_cast<uint64_t>(*length)});
    }
    if (!more) return {};
    if (extents_.size() > kMaxSparseExtents) return error("a sparse file has too many extents");
    Extension extension;
    BERTH_RETURN_IF_ERROR(read_exactly(&extension, sizeof extension, "the map of a sparse file"));
    std::memcpy(extents, extension.extents, sizeof extents);
    count = 21;
    more = extension.more != 0;
  }
}

Status TarReader::read_sparse_map_before_data() {
  // Decimal numbers, a newline after each: how many extents, then offset and size of each; padded
  // to a block.
  uint64_t used = 0;
  char block[kTarBlock];
  size_t at = kTarBlock;
  const auto read_number = [&]() -> Result<uint64_t> {
    std::string digits;
    while (true) {
      if (at == kTarBlock) {
        if (remaining_ < kTarBlock || used > kMaxSparseMap) {
          return error("the map of a sparse file has no end");
        }
        BERTH_RETURN_IF_ERROR(read_exactly(block, kTarBlock, "the map of a sparse file"));
        remaining_ -= kTarBlock;
        used += kTarBlock;
        at = 0;
      }
      const char c = block[at++];
      if (c == '\n') break;
      digits += c;
      if (digits.size() > 20) return error("the map of a sparse file is malformed");
    }
    const std::optional<uint64_t> number = parse_decimal(digits);
    if (!number) return error("the map of a sparse file is malformed");
    return *number;
  };
  BERTH_ASSIGN_OR_RETURN(const uint64_t count, read_number());
  if (count > kMaxSparseExtents) return error("a sparse file has too many extents");
  for (uint64_t i = 0; i < count; ++i) {
    BERTH_ASSIGN_OR_RETURN(const uint64_t offset, read_number());
    BERTH_ASSIGN_OR_RETURN(const uint64_t size, read_number());
    extents_.push_back({offset, size});
  }
  return {};
}

Status TarReader::check_extents(const TarEntry& entry) const {
  uint64_t end = 0;
  uint64_t total = 0;
  for (const SparseExtent& extent : extents_) {
    if (extent.offset < end || extent.size > kMaxSize || extent.offset > entry.size ||
        extent.size > entry.size - extent.offset) {
      return error("the extents of a sparse file overlap or lie beyond its end");
    }
    end = extent.offset + extent.size;
    total += extent.size;
  }
  if (total != remaining_) {
    return error("the extents of a sparse file add up to " + std::to_string(total) +
                 " bytes, its content to " + std::to_string(remaining_));
  }
  return {};
}

Result<TarReader::Chunk> TarReader::read() {
  while (extent_ < extents_.size() && extent_done_ == extents_[extent_].size) {
    ++extent_;
    extent_done_ = 0;
  }
  if (remaining_ == 0 || extent_ == extents_.size()) return Chunk{};
  if (window_.empty()) {
    if (!source_ended_) BERTH_RETURN_IF_ERROR(refill());
    if (source_ended_) {
      return out_of_range("tar: the archive ends after " + std::to_string(position_) +
                          " bytes, within the content of \"" + name_ + "\"");
    }
  }
  const SparseExtent& extent = extents_[extent_];
  const size_t count =
      static_cast<size_t>(std::min<uint64_t>(window_.size(), extent.size - extent_done_));
  const Chunk chunk{extent.offset + extent_done_, window_.first(count)};
  window_ = window_.subspan(count);
  position_ += count;
  remaining_ -= count;
  extent_done_ += count;
  return chunk;
}

}  // namespace berth::diff_walking
