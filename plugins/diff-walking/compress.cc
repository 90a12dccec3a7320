#include "compress.h"

#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include <algorithm>
#include <limits>
#include <vector>

namespace berth::diff_walking {
namespace {

constexpr size_t kOutput = 256 << 10;
// ISA-L's best; still several times as fast as zlib's default.
constexpr uint32_t kGzipLevel = 3;
constexpr int kZstdLevel = 3;

class PlainWriter final : public Compressor {
 public:
  explicit PlainWriter(ByteSink* sink) : sink_(sink) {}
  Status write(std::span<const std::byte> bytes) override { return sink_->write(bytes); }
  Status finish() override { return {}; }

 private:
  ByteSink* sink_;
};

class GzipWriter final : public Compressor {
 public:
  explicit GzipWriter(ByteSink* sink)
      : sink_(sink),
        stream_(std::make_unique<isal_zstream>()),
        level_buffer_(ISAL_DEF_LVL3_DEFAULT),
        output_(kOutput) {
    isal_deflate_init(stream_.get());
    stream_->level = kGzipLevel;
    stream_->level_buf = level_buffer_.data();
    stream_->level_buf_size = static_cast<uint32_t>(level_buffer_.size());
    stream_->gzip_flag = IGZIP_GZIP;  // its own header: no name, no time
    stream_->flush = NO_FLUSH;
  }

  Status write(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      constexpr size_t kMost = std::numeric_limits<int32_t>::max();
      const auto piece = bytes.first(std::min(bytes.size(), kMost));
      BERTH_RETURN_IF_ERROR(deflate(piece, false));
      bytes = bytes.subspan(piece.size());
    }
    return {};
  }
  Status finish() override { return deflate({}, true); }

 private:
  Status deflate(std::span<const std::byte> bytes, bool last) {
    // The library does not write through next_in.
    stream_->next_in = reinterpret_cast<uint8_t*>(const_cast<std::byte*>(bytes.data()));
    stream_->avail_in = static_cast<uint32_t>(bytes.size());
    stream_->end_of_stream = last ? 1 : 0;
    do {
      stream_->next_out = reinterpret_cast<uint8_t*>(output_.data());
      stream_->avail_out = static_cast<uint32_t>(output_.size());
      if (const int outcome = isal_deflate(stream_.get()); outcome != COMP_OK) {
        return internal_error("gzip: the compressor failed with " + std::to_string(outcome));
      }
      const size_t produced = output_.size() - stream_->avail_out;
      if (produced > 0) {
        BERTH_RETURN_IF_ERROR(sink_->write(std::span<const std::byte>(output_).first(produced)));
      }
    } while (stream_->avail_out == 0 || stream_->avail_in > 0 ||
             (last && stream_->internal_state.state != ZSTATE_END));
    return {};
  }

  ByteSink* sink_;
  std::unique_ptr<isal_zstream> stream_;
  std::vector<uint8_t> level_buffer_;
  std::vector<std::byte> output_;
};

class ZstdWriter final : public Compressor {
 public:
  explicit ZstdWriter(ByteSink* sink) : sink_(sink), context_(ZSTD_createCCtx()), output_(kOutput) {
    if (context_ == nullptr) return;
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, kZstdLevel);
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_checksumFlag, 1);
  }
  Status write(std::span<const std::byte> bytes) override {
    return compress(bytes, ZSTD_e_continue);
  }
  Status finish() override { return compress({}, ZSTD_e_end); }

 private:
  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };

  Status compress(std::span<const std::byte> bytes, ZSTD_EndDirective directive) {
    if (context_ == nullptr) return resource_exhausted("zstd: no memory for the compressor");
    ZSTD_inBuffer input{bytes.data(), bytes.size(), 0};
    while (true) {
      ZSTD_outBuffer output{output_.data(), output_.size(), 0};
      const size_t left = ZSTD_compressStream2(context_.get(), &output, &input, directive);
      if (ZSTD_isError(left) != 0) {
        return internal_error(std::string("zstd: ") + ZSTD_getErrorName(left));
      }
      if (output.pos > 0) {
        BERTH_RETURN_IF_ERROR(sink_->write(std::span<const std::byte>(output_).first(output.pos)));
      }
      if (directive == ZSTD_e_end ? left == 0 : input.pos == input.size) return {};
    }
  }

  ByteSink* sink_;
  std::unique_ptr<ZSTD_CCtx, Free> context_;
  std::vector<std::byte> output_;
};

}  // namespace

std::unique_ptr<Compressor> make_compressor(Compression compression, ByteSink* sink) {
  switch (compression) {
    case Compression::kGzip:
      return std::make_unique<GzipWriter>(sink);
    case Compression::kZstd:
      return std::make_unique<ZstdWriter>(sink);
    case Compression::kNone:
      break;
  }
  return std::make_unique<PlainWriter>(sink);
}

}  // namespace berth::diff_walking
