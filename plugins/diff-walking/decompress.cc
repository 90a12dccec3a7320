#include "decompress.h"

#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

namespace berth::diff_walking {
namespace {

// Enough for every magic number; also the shortest gzip header.
constexpr size_t kPeek = 10;

/// Gives the first bytes once more, then the source's own pieces.
class PeekedSource final : public ByteSource {
 public:
  explicit PeekedSource(ByteSource* source) : source_(source) {}

  Result<std::span<const std::byte>> peek() {
    while (head_.size() < kPeek) {
      BERTH_ASSIGN_OR_RETURN(const auto piece, source_->next());
      if (piece.empty()) break;
      head_.insert(head_.end(), piece.begin(), piece.end());
    }
    return std::span<const std::byte>(head_);
  }

  Result<std::span<const std::byte>> next() override {
    if (!head_.empty()) {
      given_ = std::move(head_);
      head_.clear();
      return std::span<const std::byte>(given_);
    }
    return source_->next();
  }

 private:
  ByteSource* source_;
  std::vector<std::byte> head_;
  std::vector<std::byte> given_;
};

/// The input side that all kinds share: the piece under way, and whether there are more.
class InputDecompressor : public Decompressor {
 protected:
  explicit InputDecompressor(PeekedSource source) : source_(std::move(source)) {}

  /// Makes sure that there is input unless the source has ended.
  Status refill() {
    if (!input_.empty() || ended_) return {};
    BERTH_ASSIGN_OR_RETURN(input_, source_.next());
    ended_ = input_.empty();
    consumed_before_ += input_.size();
    return {};
  }
  std::string position() const {
    return "near byte " + std::to_string(consumed_before_ - input_.size()) +
           " of the compressed stream";
  }

  PeekedSource source_;
  std::span<const std::byte> input_;
  bool ended_ = false;
  uint64_t consumed_before_ = 0;
};

class PlainReader final : public InputDecompressor {
 public:
  explicit PlainReader(PeekedSource source) : InputDecompressor(std::move(source)) {}
  Compression compression() const override { return Compression::kNone; }

  Result<size_t> read(std::span<std::byte> out) override {
    size_t done = 0;
    while (done < out.size()) {
      BERTH_RETURN_IF_ERROR(refill());
      if (input_.empty()) break;
      const size_t count = std::min(input_.size(), out.size() - done);
      std::memcpy(out.data() + done, input_.data(), count);
      input_ = input_.subspan(count);
      done += count;
    }
    return done;
  }
};

std::string_view reason(int isal_error) {
  switch (isal_error) {
    case ISAL_INVALID_WRAPPER:
      return "no valid gzip header";
    case ISAL_UNSUPPORTED_METHOD:
      return "a compression method other than deflate";
    case ISAL_INCORRECT_CHECKSUM:
      return "the checksum or length in the trailer does not match the data";
    case ISAL_INVALID_BLOCK:
      return "an invalid block";
    case ISAL_INVALID_SYMBOL:
      return "an invalid symbol";
    case ISAL_INVALID_LOOKBACK:
      return "a reference to data before the start";
    default:
      return "an error of the decompressor";
  }
}

class GzipReader final : public InputDecompressor {
 public:
  explicit GzipReader(PeekedSource source)
      : InputDecompressor(std::move(source)), state_(std::make_unique<inflate_state>()) {
    isal_inflate_init(state_.get());
    state_->crc_flag = ISAL_GZIP;
  }
  Compression compression() const override { return Compression::kGzip; }

  Result<size_t> read(std::span<std::byte> out) override {
    size_t done = 0;
    while (done < out.size()) {
      BERTH_RETURN_IF_ERROR(refill());
      if (between_members_) {
        BERTH_ASSIGN_OR_RETURN(const bool more, begin_member());
        if (!more) break;
      }
      BERTH_ASSIGN_OR_RETURN(const size_t count, inflate(out.subspan(done)));
      done += count;
    }
    return done;
  }

 private:
  /// False at the end of the stream. Zero bytes after the last member are padding, as for gzip(1).
  Result<bool> begin_member() {
    while (true) {
      const auto used = std::find_if(input_.begin(), input_.end(),
                                     [](std::byte byte) { return byte != std::byte{0}; });
      const auto zeros = static_cast<size_t>(used - input_.begin());
      padded_ = padded_ || zeros > 0;
      input_ = input_.subspan(zeros);
      if (!input_.empty()) break;
      if (ended_) return false;
      BERTH_RETURN_IF_ERROR(refill());
    }
    if (padded_) {
      return invalid_argument("gzip: data follows the padding after the last member, " +
                              position());
    }
    isal_inflate_reset(state_.get());
    between_members_ = false;
    return true;
  }

  Result<size_t> inflate(std::span<std::byte> out) {
    constexpr size_t kMost = std::numeric_limits<int32_t>::max();
    const auto in_size = static_cast<uint32_t>(std::min(input_.size(), kMost));
    const auto out_size = static_cast<uint32_t>(std::min(out.size(), kMost));
    // The library does not write through next_in.
    state_->next_in = reinterpret_cast<uint8_t*>(const_cast<std::byte*>(input_.data()));
    state_->avail_in = in_size;
    state_->next_out = reinterpret_cast<uint8_t*>(out.data());
    state_->avail_out = out_size;
    const int outcome = isal_inflate(state_.get());
    input_ = input_.subspan(in_size - state_->avail_in);
    const size_t produced = out_size - state_->avail_out;
    if (outcome != ISAL_DECOMP_OK) {
      return invalid_argument("gzip: " + std::string(reason(outcome)) + ", " + position());
    }
    if (state_->block_state == ISAL_BLOCK_FINISH) {
      between_members_ = true;
    } else if (ended_ && produced == 0) {
      return out_of_range("gzip: the stream is truncated after " +
                          std::to_string(consumed_before_) + " bytes");
    }
    return produced;
  }

  std::unique_ptr<inflate_state> state_;
  bool between_members_ = false;
  bool padded_ = false;
};

class ZstdReader final : public InputDecompressor {
 public:
  explicit ZstdReader(PeekedSource source)
      : InputDecompressor(std::move(source)), context_(ZSTD_createDCtx()) {}
  Compression compression() const override { return Compression::kZstd; }

  Result<size_t> read(std::span<std::byte> out) override {
    if (context_ == nullptr) return resource_exhausted("zstd: no memory for the decompressor");
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    while (output.pos < output.size) {
      BERTH_RETURN_IF_ERROR(refill());
      if (input_.empty() && frame_done_) break;
      ZSTD_inBuffer input{input_.data(), input_.size(), 0};
      const size_t before = output.pos;
      const size_t outcome = ZSTD_decompressStream(context_.get(), &output, &input);
      input_ = input_.subspan(input.pos);
      if (ZSTD_isError(outcome) != 0) {
        return invalid_argument(std::string("zstd: ") + ZSTD_getErrorName(outcome) + ", " +
                                position());
      }
      frame_done_ = outcome == 0;
      if (ended_ && !frame_done_ && output.pos == before) {
        return out_of_range("zstd: the stream is truncated after " +
                            std::to_string(consumed_before_) + " bytes");
      }
    }
    return output.pos;
  }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  std::unique_ptr<ZSTD_DCtx, Free> context_;
  bool frame_done_ = true;
};

}  // namespace

std::string_view compression_name(Compression compression) {
  switch (compression) {
    case Compression::kNone:
      return "none";
    case Compression::kGzip:
      return "gzip";
    case Compression::kZstd:
      return "zstd";
  }
  return "unknown";
}

Compression detect_compression(std::span<const std::byte> first) {
  const auto byte = [&](size_t index) { return std::to_integer<unsigned>(first[index]); };
  if (first.size() >= 3 && byte(0) == 0x1f && byte(1) == 0x8b && byte(2) == 8) {
    return Compression::kGzip;
  }
  if (first.size() >= 4) {
    const unsigned magic = byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24;
    // A frame, or a skippable frame in front of one (RFC 8878).
    if (magic == 0xfd2fb528 || (magic & 0xfffffff0) == 0x184d2a50) return Compression::kZstd;
  }
  return Compression::kNone;
}

Result<std::unique_ptr<Decompressor>> make_decompressor(ByteSource* source) {
  PeekedSource peeked(source);
  BERTH_ASSIGN_OR_RETURN(const auto first, peeked.peek());
  std::unique_ptr<Decompressor> out;
  switch (detect_compression(first)) {
    case Compression::kNone:
      out = std::make_unique<PlainReader>(std::move(peeked));
      break;
    case Compression::kGzip:
      out = std::make_unique<GzipReader>(std::move(peeked));
      break;
    case Compression::kZstd:
      out = std::make_unique<ZstdReader>(std::move(peeked));
      break;
  }
  return out;
}

}  // namespace berth::diff_walking
