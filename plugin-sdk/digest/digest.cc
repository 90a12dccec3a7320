// The functions of each algorithm, and not EVP, which chooses among providers: EVP's first digest
// reads OpenSSL's configuration and makes tables of all algorithms, about 2 MB of resident memory
// in a daemon that needs three.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <berth/digest.h>
#include <openssl/sha.h>

#include <array>
#include <cstdlib>
#include <variant>

namespace berth {
namespace {

struct Known {
  DigestAlgorithm algorithm;
  std::string_view name;
  size_t hex_length;
};
constexpr std::array kKnown = {Known{DigestAlgorithm::kSha256, "sha256", 64},
                               Known{DigestAlgorithm::kSha384, "sha384", 96},
                               Known{DigestAlgorithm::kSha512, "sha512", 128}};

const Known& known(DigestAlgorithm algorithm) { return kKnown[static_cast<size_t>(algorithm)]; }

// These fail only when the library is broken; a wrong digest would be worse than the end of the
// process.
void must(int outcome) {
  if (outcome != 1) std::abort();
}

std::string quoted(std::string_view text) {
  constexpr size_t kShown =
      160;  // digests come from clients; an error message is no place for megabytes
  return "\"" + std::string(text.substr(0, kShown)) + (text.size() > kShown ? "…" : "") + "\"";
}

}  // namespace

std::string_view algorithm_name(DigestAlgorithm algorithm) { return known(algorithm).name; }
size_t hex_length(DigestAlgorithm algorithm) { return known(algorithm).hex_length; }

Result<Digest> Digest::parse(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) {
    return invalid_argument("digest " + quoted(text) +
                            ": expected algorithm:hex, as in sha256:<64 hex digits>");
  }
  const std::string_view name = text.substr(0, colon);
  const std::string_view hex = text.substr(colon + 1);
  for (const Known& candidate : kKnown) {
    if (candidate.name != name) continue;
    if (hex.size() != candidate.hex_length) {
      return invalid_argument("digest " + quoted(text) + ": " + std::string(name) + " has " +
                              std::to_string(candidate.hex_length) + " hex digits, not " +
                              std::to_string(hex.size()));
    }
    if (hex.find_first_not_of("0123456789abcdef") != std::string_view::npos) {
      return invalid_argument("digest " + quoted(text) +
                              ": only lower-case hex digits may follow the colon");
    }
    return Digest(candidate.algorithm, std::string(text));
  }
  return invalid_argument("digest " + quoted(text) +
                          ": unsupported algorithm, known are sha256, sha384 and sha512");
}

// SHA-384 is SHA-512 with another beginning and a shorter end.
struct Digester::State {
  std::variant<SHA256_CTX, SHA512_CTX> context;
};

Digester::Digester(DigestAlgorithm algorithm)
    : algorithm_(algorithm), state_(std::make_unique<State>()) {
  reset();
}
Digester::Digester(Digester&&) noexcept = default;
Digester& Digester::operator=(Digester&&) noexcept = default;
Digester::~Digester() = default;

void Digester::reset() {
  switch (algorithm_) {
    case DigestAlgorithm::kSha256:
      return must(SHA256_Init(&state_->context.emplace<SHA256_CTX>()));
    case DigestAlgorithm::kSha384:
      return must(SHA384_Init(&state_->context.emplace<SHA512_CTX>()));
    case DigestAlgorithm::kSha512:
      return must(SHA512_Init(&state_->context.emplace<SHA512_CTX>()));
  }
}

void Digester::update(std::span<const std::byte> bytes) {
  if (auto* const small = std::get_if<SHA256_CTX>(&state_->context)) {
    must(SHA256_Update(small, bytes.data(), bytes.size()));
  } else {
    must(SHA512_Update(&std::get<SHA512_CTX>(state_->context), bytes.data(), bytes.size()));
  }
}

Digest Digester::digest() const {
  State copy = *state_;
  std::array<unsigned char, SHA512_DIGEST_LENGTH> raw{};
  if (auto* const small = std::get_if<SHA256_CTX>(&copy.context)) {
    must(SHA256_Final(raw.data(), small));
  } else {
    must(SHA512_Final(raw.data(), &std::get<SHA512_CTX>(copy.context)));
  }
  std::string text(algorithm_name(algorithm_));
  text += ':';
  for (size_t i = 0; i < hex_length(algorithm_) / 2; ++i) {
    text += "0123456789abcdef"[raw[i] >> 4];
    text += "0123456789abcdef"[raw[i] & 15];
  }
  return {algorithm_, std::move(text)};
}

Digest digest_of(std::string_view bytes, DigestAlgorithm algorithm) {
  Digester digester(algorithm);
  digester.update(bytes);
  return digester.digest();
}

}  // namespace berth
