#include <berth/digest.h>
#include <openssl/evp.h>

#include <array>
#include <cstdlib>

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

const EVP_MD* evp(DigestAlgorithm algorithm) {
  switch (algorithm) {
    case DigestAlgorithm::kSha256:
      return EVP_sha256();
    case DigestAlgorithm::kSha384:
      return EVP_sha384();
    case DigestAlgorithm::kSha512:
      return EVP_sha512();
  }
  return nullptr;
}

// libcrypto's digests fail only when memory is exhausted or the library is broken; a wrong digest
// would be worse than the end of the process.
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

struct Digester::State {
  State() : context(EVP_MD_CTX_new()) { must(context != nullptr); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { EVP_MD_CTX_free(context); }
  EVP_MD_CTX* context;
};

Digester::Digester(DigestAlgorithm algorithm)
    : algorithm_(algorithm), state_(std::make_unique<State>()) {
  reset();
}
Digester::Digester(Digester&&) noexcept = default;
Digester& Digester::operator=(Digester&&) noexcept = default;
Digester::~Digester() = default;

void Digester::reset() { must(EVP_DigestInit_ex(state_->context, evp(algorithm_), nullptr)); }

void Digester::update(std::span<const std::byte> bytes) {
  must(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()));
}

Digest Digester::digest() const {
  const State copy;
  must(EVP_MD_CTX_copy_ex(copy.context, state_->context));
  std::array<unsigned char, EVP_MAX_MD_SIZE> raw{};
  unsigned int size = 0;
  must(EVP_DigestFinal_ex(copy.context, raw.data(), &size));
  std::string text(algorithm_name(algorithm_));
  text += ':';
  for (unsigned int i = 0; i < size; ++i) {
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
