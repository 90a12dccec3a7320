#include "packing.h"

#include <zlib.h>
#include <zstd.h>

#include <memory>

namespace @ident@_plugin {
namespace {

constexpr int kWithHeader = 16 + MAX_WBITS;  // gzip's, to zlib
constexpr size_t kStep = 1 << 16;

berth::Result<std::string> inflated(const std::string& blob) {
  z_stream stream{};
  if (::inflateInit2(&stream, kWithHeader) != Z_OK) return berth::resource_exhausted("no memory for zlib");
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(blob.data()));
  stream.avail_in = static_cast<uInt>(blob.size());
  std::string out;
  std::string buffer(kStep, '\0');
  int code = Z_OK;
  while (code == Z_OK || (code == Z_STREAM_END && stream.avail_in > 0)) {
    if (code == Z_STREAM_END) ::inflateReset(&stream);  // another member
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = static_cast<uInt>(buffer.size());
    code = ::inflate(&stream, Z_NO_FLUSH);
    out.append(buffer, 0, buffer.size() - stream.avail_out);
  }
  ::inflateEnd(&stream);
  if (code != Z_STREAM_END) return berth::invalid_argument("the layer is no gzip stream, or it is damaged or cut");
  return out;
}

berth::Result<std::string> zstd_decompressed(const std::string& blob) {
  const std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream(::ZSTD_createDStream(), ::ZSTD_freeDStream);
  ZSTD_inBuffer in{blob.data(), blob.size(), 0};
  std::string out;
  std::string buffer(kStep, '\0');
  size_t left = 1;
  while (true) {
    ZSTD_outBuffer step{buffer.data(), buffer.size(), 0};
    left = ::ZSTD_decompressStream(stream.get(), &step, &in);
    out.append(buffer, 0, step.pos);
    if (::ZSTD_isError(left) != 0 || (in.pos == in.size && step.pos < step.size)) break;
  }
  if (left != 0) return berth::invalid_argument("the layer is no zstd stream, or it is damaged or cut");
  return out;
}

}  // namespace

berth::Result<std::string> unpacked(const std::string& blob, Packing packing) {
  switch (packing) {
    case Packing::kGzip:
      return inflated(blob);
    case Packing::kZstd:
      return zstd_decompressed(blob);
    default:
      return blob;
  }
}

berth::Result<std::string> packed(const std::string& layer, Packing packing) {
  if (packing == Packing::kPlain) return layer;
  std::string out;
  if (packing == Packing::kZstd) {
    out.resize(::ZSTD_compressBound(layer.size()));
    const size_t size = ::ZSTD_compress(out.data(), out.size(), layer.data(), layer.size(), ZSTD_CLEVEL_DEFAULT);
    if (::ZSTD_isError(size) != 0) return berth::internal_error(std::string("compress a layer: ") + ::ZSTD_getErrorName(size));
    out.resize(size);
    return out;
  }
  z_stream stream{};
  if (::deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kWithHeader, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    return berth::resource_exhausted("no memory for zlib");
  }
  out.resize(::deflateBound(&stream, layer.size()));
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(layer.data()));
  stream.avail_in = static_cast<uInt>(layer.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  ::deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  return out;
}

}  // namespace @ident@_plugin
