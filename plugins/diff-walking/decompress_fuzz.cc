// The front ends of gzip and zstd: any bytes may come, in pieces of any size. No crash, no hang,
// and no more output than fits.
#include <array>
#include <cstdint>
#include <cstdlib>

#include "decompress.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace berth::diff_walking;
  if (size == 0) return 0;
  MemorySource source(std::as_bytes(std::span(data + 1, size - 1)), size_t{data[0]} + 1);
  const auto reader = make_decompressor(&source);
  if (!reader.ok()) std::abort();  // the source does not fail
  std::array<std::byte, 3001> out;
  // A small input can stand for very much output: a bound keeps the run short.
  for (int i = 0; i < 1000; ++i) {
    const auto got = (*reader)->read(out);
    if (!got.ok()) return 0;
    if (*got > out.size()) std::abort();
    if (*got < out.size()) return 0;
  }
  return 0;
}
