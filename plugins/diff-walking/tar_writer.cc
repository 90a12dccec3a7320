#include "tar_writer.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <map>

#include "pax.h"

namespace berth::diff_walking {
namespace {

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0; });
}

/// What remains of a name in a field of ASCII; the extended header has the whole.
template <size_t N>
void put_text(char (&field)[N], std::string_view text) {
  std::string plain;
  std::copy_if(text.begin(), text.end(), std::back_inserter(plain), [](char c) { return c > 0; });
  if (plain.size() > N) {
    plain.resize(N);
    // A file whose cut name ends in a slash would be taken for a directory.
    while (plain.ends_with('/')) plain.pop_back();
  }
  std::memcpy(field, plain.data(), plain.size());
}

/// Octal digits that fill the field up to a NUL. False when the number does not fit; the field is 0
/// then.
template <size_t N>
bool put_number(char (&field)[N], int64_t number) {
  const bool fits = number >= 0 && static_cast<uint64_t>(number) < uint64_t{1} << (3 * (N - 1));
  uint64_t rest = fits ? static_cast<uint64_t>(number) : 0;
  for (size_t i = N - 1; i-- > 0;) {
    field[i] = static_cast<char>('0' + (rest & 7));
    rest >>= 3;
  }
  return fits;
}

void put_checksum(TarHeaderBlock* header) {
  std::memset(header->checksum, ' ', sizeof header->checksum);
  unsigned sum = 0;
  const auto* bytes = reinterpret_cast<const unsigned char*>(header);
  for (size_t i = 0; i < sizeof *header; ++i) sum += bytes[i];
  std::snprintf(header->checksum, sizeof header->checksum, "%06o", sum);
  header->checksum[7] = ' ';
}

TarHeaderBlock empty_header() {
  TarHeaderBlock header{};
  std::memcpy(header.magic, "ustar\0", 6);
  std::memcpy(header.version, "00", 2);
  put_number(header.mode, 0);
  put_number(header.uid, 0);
  put_number(header.gid, 0);
  put_number(header.size, 0);
  put_number(header.mtime, 0);
  put_number(header.dev_major, 0);
  put_number(header.dev_minor, 0);
  return header;
}

std::span<const std::byte> bytes_of(const TarHeaderBlock& header) {
  return std::as_bytes(std::span(&header, 1));
}

}  // namespace

Status TarWriter::pad(uint64_t size) {
  static constexpr std::array<std::byte, kTarBlock> kZeros{};
  return sink_->write(std::span(kZeros).first((kTarBlock - size % kTarBlock) % kTarBlock));
}

Status TarWriter::write_extended(const TarEntry& entry, const std::string& records) {
  // The name that POSIX proposes, without the process number.
  std::string_view name = entry.name;
  while (name.ends_with('/')) name.remove_suffix(1);
  const size_t slash = name.rfind('/');
  std::string pax_name =
      slash == std::string_view::npos ? std::string() : std::string(name.substr(0, slash + 1));
  pax_name += "PaxHeaders.0/";
  pax_name += slash == std::string_view::npos ? name : name.substr(slash + 1);
  TarHeaderBlock header = empty_header();
  put_text(header.name, pax_name);
  put_number(header.size, static_cast<int64_t>(records.size()));
  header.type = 'x';
  put_checksum(&header);
  BERTH_RETURN_IF_ERROR(sink_->write(bytes_of(header)));
  BERTH_RETURN_IF_ERROR(sink_->write(std::as_bytes(std::span(records))));
  return pad(records.size());
}

Status TarWriter::add(const TarEntry& entry) {
  if (remaining_ != 0) {
    return internal_error("tar: an entry was begun before the one before it was complete");
  }
  std::map<std::string, std::string> records;  // sorted, for the same bytes every time
  TarHeaderBlock header = empty_header();
  put_text(header.name, entry.name);
  if (entry.name.size() > sizeof header.name || !is_ascii(entry.name)) {
    records["path"] = entry.name;
  }
  put_text(header.link_name, entry.link_target);
  if (entry.link_target.size() > sizeof header.link_name || !is_ascii(entry.link_target)) {
    records["linkpath"] = entry.link_target;
  }
  put_number(header.mode, entry.mode);
  if (!put_number(header.uid, entry.uid)) records["uid"] = std::to_string(entry.uid);
  if (!put_number(header.gid, entry.gid)) records["gid"] = std::to_string(entry.gid);
  const auto size = static_cast<int64_t>(entry.size);
  if (!put_number(header.size, size)) records["size"] = std::to_string(size);
  if (!put_number(header.mtime, entry.mtime.seconds)) {
    records["mtime"] = std::to_string(entry.mtime.seconds);
  }
  put_number(header.dev_major, entry.dev_major);
  put_number(header.dev_minor, entry.dev_minor);
  header.type = static_cast<char>(entry.type);
  for (const auto& [key, value] : entry.xattrs) records["SCHILY.xattr." + key] = value;
  put_checksum(&header);

  if (!records.empty()) {
    std::string text;
    for (const auto& [key, value] : records) text += pax_record(key, value);
    BERTH_RETURN_IF_ERROR(write_extended(entry, text));
  }
  remaining_ = entry.size;
  size_ = entry.size;
  return sink_->write(bytes_of(header));
}

Status TarWriter::write(std::span<const std::byte> bytes) {
  if (bytes.size() > remaining_) return internal_error("tar: more content than announced");
  BERTH_RETURN_IF_ERROR(sink_->write(bytes));
  remaining_ -= bytes.size();
  return remaining_ == 0 ? pad(size_) : Status();
}

Status TarWriter::finish() {
  if (remaining_ != 0) return internal_error("tar: the last entry is not complete");
  static constexpr std::array<std::byte, 2 * kTarBlock> kEnd{};
  return sink_->write(kEnd);
}

}  // namespace berth::diff_walking
