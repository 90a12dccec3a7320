#include "tar_writer.h"

#include <cstring>
#include <stdexcept>

namespace berth::bench {
namespace {

constexpr size_t kBlock = 512;
constexpr uint64_t kTime = 1'700'000'000;  // 2023-11-14

// Fields of the ustar header: offset and length (POSIX.1-2017, pax, "ustar Interchange Format").
constexpr size_t kName = 0, kMode = 100, kUid = 108, kGid = 116, kSize = 124, kMtime = 136,
                 kChecksum = 148, kType = 156, kLink = 157, kMagic = 257;
constexpr size_t kNameLength = 100;

void octal(char* field, int digits, uint64_t value) {
  for (int i = digits - 1; i >= 0; --i, value /= 8) field[i] = static_cast<char>('0' + value % 8);
}

}  // namespace

void TarWriter::header(const std::string& name, char type, uint64_t size, int mode,
                       const std::string& target) {
  if (name.size() >= kNameLength || target.size() >= kNameLength) {
    throw std::runtime_error("tar entry " + name + ": names of " + std::to_string(kNameLength) +
                             " bytes and more are not written");
  }
  char block[kBlock] = {};
  std::memcpy(block + kName, name.data(), name.size());
  octal(block + kMode, 7, static_cast<uint64_t>(mode));
  octal(block + kUid, 7, 0);
  octal(block + kGid, 7, 0);
  octal(block + kSize, 11, size);
  octal(block + kMtime, 11, kTime);
  block[kType] = type;
  std::memcpy(block + kLink, target.data(), target.size());
  std::memcpy(block + kMagic, "ustar\00000", 8);
  std::memset(block + kChecksum, ' ', 8);
  unsigned sum = 0;
  for (const char byte : block) sum += static_cast<unsigned char>(byte);
  octal(block + kChecksum, 6, sum);
  sink_({block, kBlock});
}

void TarWriter::file(const std::string& name, std::string_view data, int mode) {
  header(name, '0', data.size(), mode, "");
  sink_(data);
  static constexpr char kZeros[kBlock] = {};
  const size_t rest = data.size() % kBlock;
  if (rest != 0) sink_({kZeros, kBlock - rest});
}

void TarWriter::end() {
  static constexpr char kZeros[2 * kBlock] = {};
  sink_({kZeros, sizeof kZeros});
}

}  // namespace berth::bench
