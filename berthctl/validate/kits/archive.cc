#include "validate/kits/archive.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

namespace berth::ctl::validate {
namespace {

constexpr size_t kBlock = 512;
constexpr int kGzip = 16 + MAX_WBITS;  // to zlib: with gzip's header

/// A ustar header, by the offsets that POSIX gives.
class Header {
 public:
  Header() { block_.fill('\0'); }
  void text(size_t at, size_t size, std::string_view value) {
    std::memcpy(block_.data() + at, value.data(), std::min(size, value.size()));
  }
  void number(size_t at, int size, unsigned long long value) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%0*llo", size - 1, value);
    text(at, static_cast<size_t>(size), digits);
  }
  std::string_view finish() {
    text(148, 8, "        ");
    unsigned sum = 0;
    for (const char byte : block_) sum += static_cast<unsigned char>(byte);
    number(148, 7, sum);
    return {block_.data(), block_.size()};
  }

 private:
  std::array<char, kBlock> block_;
};

}  // namespace

Archive& Archive::add(const Entry& entry) {
  Header header;
  header.text(0, 100, entry.name);
  header.number(100, 8, entry.mode);
  header.number(108, 8, entry.uid);
  header.number(116, 8, entry.gid);
  const auto size = entry.size < 0 ? entry.content.size() : static_cast<size_t>(entry.size);
  header.number(124, 12, size);
  header.number(136, 12, static_cast<unsigned long long>(entry.mtime));
  header.text(156, 1, std::string_view(&entry.type, 1));
  header.text(157, 100, entry.link);
  header.text(257, 8, std::string_view("ustar\00000", 8));
  header.number(329, 8, entry.major);
  header.number(337, 8, entry.minor);
  bytes_ += header.finish();
  bytes_ += entry.content;
  bytes_.append((kBlock - entry.content.size() % kBlock) % kBlock, '\0');
  return *this;
}

Archive& Archive::pax(const std::vector<std::pair<std::string, std::string>>& records) {
  std::string text;
  for (const auto& [key, value] : records) {
    // A record's length counts its own digits.
    const size_t rest = key.size() + value.size() + 3;
    size_t length = rest + 1;
    while (std::to_string(length).size() + rest != length) ++length;
    text += std::to_string(length) + " " + key + "=" + value + "\n";
  }
  return add({.name = "PaxHeaders/x", .type = 'x', .content = text});
}

std::string gzipped(std::string_view bytes) {
  z_stream stream{};
  if (::deflateInit2(&stream, 6, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY) != Z_OK) return {};
  std::string out(::deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  ::deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  return out;
}

std::string zstd_compressed(std::string_view bytes) {
  std::string out(::ZSTD_compressBound(bytes.size()), '\0');
  const size_t size = ::ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 3);
  out.resize(::ZSTD_isError(size) != 0 ? 0 : size);
  return out;
}

namespace {

std::string inflated(const std::string& bytes) {
  z_stream stream{};
  if (::inflateInit2(&stream, kGzip) != Z_OK) return {};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string out;
  char buffer[1 << 16];
  int code = Z_OK;
  while (code == Z_OK || (code == Z_STREAM_END && stream.avail_in > 0)) {
    if (code == Z_STREAM_END) ::inflateReset(&stream);
    stream.next_out = reinterpret_cast<Bytef*>(buffer);
    stream.avail_out = sizeof buffer;
    code = ::inflate(&stream, Z_NO_FLUSH);
    out.append(buffer, sizeof buffer - stream.avail_out);
  }
  ::inflateEnd(&stream);
  return code == Z_STREAM_END ? out : std::string();
}

std::string zstd_decompressed(const std::string& bytes) {
  ZSTD_DStream* const stream = ::ZSTD_createDStream();
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  std::string out;
  char buffer[1 << 16];
  size_t left = 1;
  while (in.pos < in.size || left != 0) {
    ZSTD_outBuffer step{buffer, sizeof buffer, 0};
    left = ::ZSTD_decompressStream(stream, &step, &in);
    out.append(buffer, step.pos);
    if (::ZSTD_isError(left) != 0 || (in.pos == in.size && step.pos == 0)) break;
  }
  ::ZSTD_freeDStream(stream);
  return left == 0 ? out : std::string();
}

}  // namespace

std::string decompressed(const std::string& bytes) {
  if (bytes.starts_with("\x1f\x8b")) return inflated(bytes);
  if (bytes.starts_with("\x28\xb5\x2f\xfd")) return zstd_decompressed(bytes);
  return bytes;
}

}  // namespace berth::ctl::validate
