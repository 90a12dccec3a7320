// Content digests as the OCI image specification writes them: "sha256:<64 lower-case hex digits>".
#pragma once

#include <berth/status.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace berth {

enum class DigestAlgorithm : uint8_t { kSha256, kSha384, kSha512 };

/// "sha256", "sha384", "sha512": the part before the colon, and the name of a directory of blobs.
std::string_view algorithm_name(DigestAlgorithm algorithm);
/// Length of the part after the colon.
size_t hex_length(DigestAlgorithm algorithm);

/// A well-formed digest. Nothing else can be in here, so its parts are safe as path components. A
/// value.
class Digest {
 public:
  /// INVALID_ARGUMENT for an unknown algorithm, a wrong length, and anything but lower-case hex
  /// digits.
  static Result<Digest> parse(std::string_view text);

  DigestAlgorithm algorithm() const { return algorithm_; }
  std::string_view hex() const {
    return std::string_view(text_).substr(algorithm_name(algorithm_).size() + 1);
  }
  /// The whole, "sha256:…".
  const std::string& string() const { return text_; }

  friend bool operator==(const Digest& a, const Digest& b) { return a.text_ == b.text_; }
  friend auto operator<=>(const Digest& a, const Digest& b) { return a.text_ <=> b.text_; }

 private:
  friend class Digester;
  Digest(DigestAlgorithm algorithm, std::string text)
      : algorithm_(algorithm), text_(std::move(text)) {}

  DigestAlgorithm algorithm_;
  std::string text_;
};

/// Computes a digest of bytes that come in pieces. Movable; one thread at a time.
class Digester {
 public:
  explicit Digester(DigestAlgorithm algorithm = DigestAlgorithm::kSha256);
  Digester(Digester&&) noexcept;
  Digester& operator=(Digester&&) noexcept;
  ~Digester();

  DigestAlgorithm algorithm() const { return algorithm_; }
  void update(std::span<const std::byte> bytes);
  void update(std::string_view bytes) { update(std::as_bytes(std::span(bytes))); }
  /// Of all bytes so far; more may follow.
  Digest digest() const;
  /// Forgets all bytes.
  void reset();

 private:
  struct State;
  DigestAlgorithm algorithm_;
  std::unique_ptr<State> state_;
};

/// The digest of bytes in memory.
Digest digest_of(std::string_view bytes, DigestAlgorithm algorithm = DigestAlgorithm::kSha256);

}  // namespace berth
