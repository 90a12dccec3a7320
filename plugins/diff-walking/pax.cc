#include "pax.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace berth::diff_walking {
namespace {

Status malformed(std::string_view keyword, std::string_view value) {
  return invalid_argument("tar: extended header: " + std::string(keyword) + " has the value \"" +
                          std::string(value.substr(0, 64)) + "\", which is not well-formed");
}

/// "1350244992.023960108", "-1.5", "12".
std::optional<TarTime> parse_time(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const size_t dot = text.find('.');
  const std::optional<uint64_t> whole = parse_decimal(text.substr(0, dot));
  if (!whole || *whole > uint64_t{1} << 62) return std::nullopt;
  int32_t nanoseconds = 0;
  if (dot != std::string_view::npos) {
    int32_t unit = 100'000'000;
    for (const char digit : text.substr(dot + 1)) {
      if (digit < '0' || digit > '9') return std::nullopt;
      nanoseconds +=
          (digit - '0') * unit;  // digits beyond nanoseconds are dropped: the unit is 0 then
      unit /= 10;
    }
  }
  TarTime time{static_cast<int64_t>(*whole), nanoseconds};
  if (negative) {
    time.seconds = -time.seconds;
    if (nanoseconds != 0) {
      time.seconds -= 1;
      time.nanoseconds = 1'000'000'000 - nanoseconds;
    }
  }
  return time;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned value = 0;
    if (i + 2 >= text.size()) return std::nullopt;
    const auto [end, error] = std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16);
    if (error != std::errc() || end != text.data() + i + 3) return std::nullopt;
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

std::optional<std::string> base64_decoded(std::string_view text) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count & 0xff);
    }
  }
  return out;
}

void set_xattr(PaxRecords* records, std::string name, std::string value) {
  std::erase_if(records->xattrs, [&](const auto& known) { return known.first == name; });
  if (!value.empty()) records->xattrs.emplace_back(std::move(name), std::move(value));
}

Status set_xattr_of(std::string_view keyword, std::string_view value, PaxRecords* records) {
  constexpr std::string_view kStar = "SCHILY.xattr.";
  constexpr std::string_view kLibarchive = "LIBARCHIVE.xattr.";
  std::optional<std::string> name;
  std::optional<std::string> content;
  if (keyword.starts_with(kStar)) {
    name = keyword.substr(kStar.size());
    content = value;
  } else {
    name = percent_decoded(keyword.substr(kLibarchive.size()));
    content = base64_decoded(value);
  }
  // 255 is XATTR_NAME_MAX.
  if (!name || name->empty() || name->size() > 255 || !content ||
      name->find('\0') != std::string::npos) {
    return malformed(keyword, value);
  }
  set_xattr(records, std::move(*name), std::move(*content));
  return {};
}

template <typename T>
Status set_number(std::string_view keyword, std::string_view value, std::optional<T>* out,
                  uint64_t limit = std::numeric_limits<int64_t>::max()) {
  out->reset();
  if (value.empty()) return {};
  const std::optional<uint64_t> number = parse_decimal(value);
  if (!number || *number > limit) return malformed(keyword, value);
  *out = static_cast<T>(*number);
  return {};
}

Status set_name(std::string_view keyword, std::string_view value, std::optional<std::string>* out) {
  out->reset();
  if (value.empty()) return {};
  if (value.size() > kMaxTarName || value.find('\0') != std::string_view::npos) {
    return malformed(keyword, value);
  }
  *out = value;
  return {};
}

Status set_time(std::string_view keyword, std::string_view value, std::optional<TarTime>* out) {
  out->reset();
  if (value.empty()) return {};
  *out = parse_time(value);
  return *out ? Status() : malformed(keyword, value);
}

/// "0,512,1024,100": pairs of offset and size.
Status set_sparse_map(std::string_view value, PaxRecords* records) {
  records->sparse_extents.clear();
  while (!value.empty()) {
    std::array<uint64_t, 2> pair{};
    for (uint64_t& number : pair) {
      const size_t comma = value.find(',');
      const std::optional<uint64_t> parsed = parse_decimal(value.substr(0, comma));
      if (!parsed) return malformed("GNU.sparse.map", value);
      number = *parsed;
      value = comma == std::string_view::npos ? std::string_view() : value.substr(comma + 1);
      if (value.empty() && &number == &pair[0]) return malformed("GNU.sparse.map", value);
    }
    records->sparse_extents.push_back({pair[0], pair[1]});
  }
  return {};
}

Status set_sparse(std::string_view keyword, std::string_view value, PaxRecords* records) {
  records->sparse = true;
  const std::string_view name = keyword.substr(std::string_view("GNU.sparse.").size());
  if (name == "major") return set_number(keyword, value, &records->sparse_major);
  if (name == "minor") return set_number(keyword, value, &records->sparse_minor);
  if (name == "name") return set_name(keyword, value, &records->sparse_name);
  if (name == "size" || name == "realsize") {
    return set_number(keyword, value, &records->sparse_size);
  }
  if (name == "map") return set_sparse_map(value, records);
  if (name == "numblocks") return {};
  if (name == "offset" || name == "numbytes") {
    const std::optional<uint64_t> number = parse_decimal(value);
    if (!number) return malformed(keyword, value);
    if (name == "offset") {
      records->sparse_extents.push_back({*number, 0});
    } else if (records->sparse_extents.empty()) {
      return malformed(keyword, value);
    } else {
      records->sparse_extents.back().size = *number;
    }
    return {};
  }
  return {};
}

Status set_record(std::string_view keyword, std::string_view value, PaxRecords* records) {
  constexpr uint64_t kMaxId =
      std::numeric_limits<uint32_t>::max() - 1;  // the last one means "leave it"
  if (keyword == "path") return set_name(keyword, value, &records->path);
  if (keyword == "linkpath") return set_name(keyword, value, &records->link_path);
  if (keyword == "size") return set_number(keyword, value, &records->size);
  if (keyword == "uid") return set_number(keyword, value, &records->uid, kMaxId);
  if (keyword == "gid") return set_number(keyword, value, &records->gid, kMaxId);
  if (keyword == "mtime") return set_time(keyword, value, &records->mtime);
  if (keyword == "atime") return set_time(keyword, value, &records->atime);
  if (keyword.starts_with("SCHILY.xattr.") || keyword.starts_with("LIBARCHIVE.xattr.")) {
    return set_xattr_of(keyword, value, records);
  }
  if (keyword.starts_with("GNU.sparse.")) return set_sparse(keyword, value, records);
  return {};  // comments, user names, character sets and vendors' own records
}

}  // namespace

std::optional<uint64_t> parse_decimal(std::string_view text) {
  uint64_t value = 0;
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Status parse_pax_records(std::string_view text, PaxRecords* records) {
  while (!text.empty()) {
    const size_t space = text.find(' ');
    const std::optional<uint64_t> length =
        space == std::string_view::npos ? std::nullopt : parse_decimal(text.substr(0, space));
    if (!length || *length > text.size() || *length < space + 3 || text[*length - 1] != '\n') {
      return invalid_argument("tar: extended header: the record at \"" +
                              std::string(text.substr(0, 32)) + "\" has no valid length");
    }
    const std::string_view record = text.substr(space + 1, *length - space - 2);
    const size_t equals = record.find('=');
    if (equals == 0 || equals == std::string_view::npos) {
      return invalid_argument("tar: extended header: the record \"" +
                              std::string(record.substr(0, 64)) + "\" has no keyword");
    }
    BERTH_RETURN_IF_ERROR(set_record(record.substr(0, equals), record.substr(equals + 1), records));
    if (records->sparse_extents.size() > kMaxSparseExtents) {
      return invalid_argument("tar: extended header: more than " +
                              std::to_string(kMaxSparseExtents) + " extents in one sparse file");
    }
    text.remove_prefix(*length);
  }
  return {};
}

std::string pax_record(std::string_view keyword, std::string_view value) {
  const size_t rest = keyword.size() + value.size() + 3;  // space, "=" and newline
  size_t length = rest + std::to_string(rest).size();
  length = rest + std::to_string(length).size();  // the length counts its own digits
  std::string record = std::to_string(length);
  record.append(" ").append(keyword).append("=").append(value).append("\n");
  return record;
}

}  // namespace berth::diff_walking
