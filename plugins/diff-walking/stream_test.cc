// Compression both ways, and the pipeline of an unpack.
#include <gmock/gmock.h>

#include <random>

#include "compress.h"
#include "decompress.h"
#include "layer_stream.h"
#include "testing.h"

namespace berth::diff_walking {
namespace {

using testing::bytes_of;
using ::testing::HasSubstr;
using testing::StringSink;

std::string compressed(std::string_view text, Compression compression) {
  StringSink sink;
  const auto compressor = make_compressor(compression, &sink);
  // In odd pieces, as an archive writer gives them.
  for (size_t at = 0; at < text.size(); at += 100003) {
    EXPECT_TRUE(compressor->write(bytes_of(text.substr(at, 100003))).ok());
  }
  EXPECT_TRUE(compressor->finish().ok());
  return sink.text;
}

Result<std::string> decompressed(std::string_view bytes, size_t piece = 4096) {
  MemorySource source(bytes_of(bytes), piece);
  BERTH_ASSIGN_OR_RETURN(const auto reader, make_decompressor(&source));
  std::string out;
  std::string buffer(10007, '\0');
  while (true) {
    BERTH_ASSIGN_OR_RETURN(const size_t got,
                           reader->read(std::as_writable_bytes(std::span(buffer))));
    out.append(buffer, 0, got);
    if (got < buffer.size()) return out;
  }
}

/// Compressible, but not trivially so.
std::string sample(size_t size) {
  std::mt19937 random(42);
  std::string out;
  while (out.size() < size) {
    out.append(random() % 20, static_cast<char>('a' + random() % 26));
    out += std::to_string(random());
  }
  out.resize(size);
  return out;
}

class CompressionTest : public ::testing::TestWithParam<Compression> {};

TEST_P(CompressionTest, GivesBackWhatWentIn) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{600}, size_t{3000000}}) {
    const std::string text = sample(size);
    const std::string bytes = compressed(text, GetParam());
    for (const size_t piece : {size_t{1}, size_t{13}, size_t{1} << 20}) {
      if (piece == 1 && size > 1000) continue;
      const Result<std::string> back = decompressed(bytes, piece);
      ASSERT_TRUE(back.ok()) << back.status().to_string();
      EXPECT_TRUE(*back == text) << size << " bytes in pieces of " << piece;
    }
  }
}

TEST_P(CompressionTest, TheSameInputGivesTheSameBytes) {
  const std::string text = sample(500000);
  EXPECT_EQ(compressed(text, GetParam()), compressed(text, GetParam()));
}

TEST_P(CompressionTest, SeveralStreamsInARowAreOne) {
  const std::string two = compressed("first", GetParam()) + compressed("second", GetParam());
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{1000}}) {
    const Result<std::string> back = decompressed(two, piece);
    ASSERT_TRUE(back.ok()) << back.status().to_string();
    EXPECT_EQ(*back, "firstsecond");
  }
}

INSTANTIATE_TEST_SUITE_P(All, CompressionTest,
                         ::testing::Values(Compression::kNone, Compression::kGzip,
                                           Compression::kZstd));

class DamageTest : public ::testing::TestWithParam<Compression> {};

TEST_P(DamageTest, TruncationIsNoticedWhereverItIs) {
  const std::string bytes = compressed(sample(5000), GetParam());
  for (size_t size = 12; size < bytes.size(); ++size) {
    EXPECT_EQ(decompressed(std::string_view(bytes).substr(0, size)).status().code(),
              Code::kOutOfRange)
        << size << " of " << bytes.size();
  }
}

TEST_P(DamageTest, AChangedByteIsNoticed) {
  const std::string text = sample(5000);
  const std::string bytes = compressed(text, GetParam());
  // Header fields that carry no data (flags about the operating system) may change; the rest may
  // not.
  for (size_t at = 12; at < bytes.size(); at += 17) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    // In a run of equal bytes another distance may mean the same.
    const Result<std::string> back = decompressed(damaged);
    EXPECT_TRUE(!back.ok() || *back == text) << "byte " << at;
  }
}

INSTANTIATE_TEST_SUITE_P(All, DamageTest,
                         ::testing::Values(Compression::kGzip, Compression::kZstd));

TEST(DecompressTest, ChecksTheTrailerOfGzip) {
  std::string bytes = compressed("some text", Compression::kGzip);
  std::string crc = bytes;
  crc[crc.size() - 8] ^= 1;
  EXPECT_THAT(decompressed(crc).status().message(), HasSubstr("checksum"));
  std::string size = bytes;
  size[size.size() - 4] ^= 1;
  EXPECT_EQ(decompressed(size).status().code(), Code::kInvalidArgument);
}

TEST(DecompressTest, TakesPaddingAfterGzipButNoGarbage) {
  const std::string bytes = compressed("text", Compression::kGzip);
  EXPECT_EQ(*decompressed(bytes + std::string(1000, '\0'), 13), "text");
  EXPECT_FALSE(decompressed(bytes + "garbage").ok());
  EXPECT_EQ(decompressed(bytes + std::string(100, 'g')).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(decompressed(bytes + std::string(10, '\0') + bytes).status().code(),
            Code::kInvalidArgument);
}

TEST(DecompressTest, SkipsFramesThatZstdDoesNotMean) {
  const std::string skippable("\x50\x2a\x4d\x18\x03\0\0\0abc", 11);
  EXPECT_EQ(*decompressed(skippable + compressed("text", Compression::kZstd)), "text");
}

TEST(DecompressTest, DetectsByTheFirstBytes) {
  EXPECT_EQ(detect_compression(bytes_of(compressed("x", Compression::kGzip))), Compression::kGzip);
  EXPECT_EQ(detect_compression(bytes_of(compressed("x", Compression::kZstd))), Compression::kZstd);
  EXPECT_EQ(detect_compression(bytes_of("\x1f")), Compression::kNone);
  EXPECT_EQ(detect_compression({}), Compression::kNone);
}

TEST(DecompressTest, ErrorsOfTheSourceComeThrough) {
  class Failing final : public ByteSource {
   public:
    explicit Failing(std::string first) : first_(std::move(first)) {}
    Result<std::span<const std::byte>> next() override {
      if (given_) return unavailable("the store is gone");
      given_ = true;
      return bytes_of(first_);
    }

   private:
    std::string first_;
    bool given_ = false;
  };
  const std::string bytes = compressed(sample(5000), Compression::kGzip);
  Failing source(bytes.substr(0, 100));
  LayerStream stream(&source);
  Result<std::span<const std::byte>> piece = stream.next();
  while (piece.ok() && !piece->empty()) piece = stream.next();
  EXPECT_EQ(piece.status().code(), Code::kUnavailable);
  EXPECT_EQ(stream.drain(), std::nullopt);
}

TEST(LayerStreamTest, KnowsBothDigests) {
  const std::string text = sample(6'000'000);  // many times round the ring
  const std::string bytes = compressed(text, Compression::kGzip);
  MemorySource source(bytes_of(bytes), 65536);
  LayerStream stream(&source);
  std::string first;
  while (first.size() < 1000) {
    const auto piece = stream.next();
    ASSERT_TRUE(piece.ok());
    first.append(reinterpret_cast<const char*>(piece->data()), piece->size());
  }
  EXPECT_EQ(first, text.substr(0, first.size()));
  const Result<StreamSummary> summary = stream.finish();
  ASSERT_TRUE(summary.ok()) << summary.status().to_string();
  EXPECT_EQ(summary->layer_digest, digest_of(text).string());
  EXPECT_EQ(summary->layer_size, text.size());
  EXPECT_EQ(summary->blob_digest, digest_of(bytes).string());
  EXPECT_EQ(summary->blob_size, bytes.size());
}

TEST(LayerStreamTest, DrainKnowsTheBlobWithoutInflatingIt) {
  const std::string bytes = compressed(sample(6'000'000), Compression::kGzip);
  MemorySource source(bytes_of(bytes), 65536);
  LayerStream stream(&source);
  ASSERT_TRUE(stream.next().ok());
  const auto summary = stream.drain();
  ASSERT_TRUE(summary.has_value());
  EXPECT_EQ(summary->blob_digest, digest_of(bytes).string());
}

TEST(LayerStreamTest, CanBeAbandonedAtAnyTime) {
  const std::string bytes = compressed(sample(6'000'000), Compression::kGzip);
  for (int pieces = 0; pieces < 3; ++pieces) {
    MemorySource source(bytes_of(bytes), 65536);
    LayerStream stream(&source);
    for (int i = 0; i < pieces; ++i) ASSERT_TRUE(stream.next().ok());
  }
}

}  // namespace
}  // namespace berth::diff_walking
