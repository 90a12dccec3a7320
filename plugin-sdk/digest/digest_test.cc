#include <berth/digest.h>
#include <gtest/gtest.h>

namespace berth {
namespace {

constexpr char kEmpty256[] =
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr char kAbc256[] =
    "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(Digest, ComputesThePublishedVectors) {
  EXPECT_EQ(digest_of("").string(), kEmpty256);
  EXPECT_EQ(digest_of("abc").string(), kAbc256);
  EXPECT_EQ(digest_of("abc", DigestAlgorithm::kSha384).string(),
            "sha384:cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
            "8086072ba1e7cc2358baeca134c825a7");
  EXPECT_EQ(digest_of("abc", DigestAlgorithm::kSha512).string(),
            "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
}

TEST(Digest, PiecesGiveTheSameAndAskingDoesNotDisturb) {
  Digester digester;
  EXPECT_EQ(digester.digest().string(), kEmpty256);
  digester.update("a");
  EXPECT_EQ(digester.digest(), digest_of("a"));
  digester.update("bc");
  EXPECT_EQ(digester.digest().string(), kAbc256);
  EXPECT_EQ(digester.digest().string(), kAbc256);
  Digester moved = std::move(digester);
  moved.update("d");
  EXPECT_EQ(moved.digest(), digest_of("abcd"));
  moved.reset();
  EXPECT_EQ(moved.digest().string(), kEmpty256);
}

TEST(Digest, ParsesWhatItWrites) {
  for (auto algorithm :
       {DigestAlgorithm::kSha256, DigestAlgorithm::kSha384, DigestAlgorithm::kSha512}) {
    const Digest digest = digest_of("x", algorithm);
    const Result<Digest> parsed = Digest::parse(digest.string());
    ASSERT_TRUE(parsed.ok()) << parsed.status().to_string();
    EXPECT_EQ(*parsed, digest);
    EXPECT_EQ(parsed->algorithm(), algorithm);
    EXPECT_EQ(parsed->hex().size(), hex_length(algorithm));
    EXPECT_EQ(std::string(algorithm_name(algorithm)) + ":" + std::string(parsed->hex()),
              digest.string());
  }
}

TEST(Digest, RefusesEverythingElse) {
  const std::string hex(64, 'a');
  for (const std::string& text :
       {std::string(), std::string("sha256"), std::string("sha256:"), ":" + hex, hex,
        "md5:" + hex.substr(32), "sha256:" + hex.substr(1), "sha256:" + hex + "a", "sha512:" + hex,
        "SHA256:" + hex, "sha256:A" + hex.substr(1), "sha256:g" + hex.substr(1),
        "sha256:/" + hex.substr(1), "sha256:..%2f" + hex.substr(6), " sha256:" + hex,
        "sha256:" + hex + "\n", "sha256::" + hex.substr(1), std::string("sha256\0:", 8) + hex}) {
    const Result<Digest> parsed = Digest::parse(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.status().code(), Code::kInvalidArgument) << text;
  }
}

TEST(Digest, ErrorsNameTheValueButNotMegabytesOfIt) {
  const Result<Digest> parsed = Digest::parse("sha256:" + std::string(1 << 20, 'a'));
  ASSERT_FALSE(parsed.ok());
  EXPECT_LT(parsed.status().message().size(), 400U);
  EXPECT_NE(parsed.status().message().find("1048576"), std::string::npos);
}

}  // namespace
}  // namespace berth
