#include "ops/memory.h"

#include <berth/fd.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fstream>
#include <string>

namespace berth::ops {
namespace {

constexpr size_t kSize = 1 << 20;

/// Resident kilobytes of the mapping that begins at `address`.
long resident(const void* address) {
  char begin[32];
  std::snprintf(begin, sizeof begin, "%lx-", reinterpret_cast<unsigned long>(address));
  std::ifstream smaps("/proc/self/smaps");
  std::string line;
  bool found = false;
  while (std::getline(smaps, line)) {
    found = found || line.starts_with(begin);
    if (found && line.starts_with("Rss:")) return std::atol(line.c_str() + 4);
  }
  return -1;
}

class StartPages : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/berth-memory-XXXXXX";
    const UniqueFd file(::mkstemp(name));
    ASSERT_TRUE(file);
    ::unlink(name);
    const std::string text(kSize, 'x');
    ASSERT_EQ(::write(file.get(), text.data(), text.size()), static_cast<ssize_t>(kSize));
    data_ = static_cast<char*>(
        ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get(), 0));
    ASSERT_NE(data_, MAP_FAILED);
  }
  void TearDown() override { ::munmap(data_, kSize); }

  /// Touches every page, changes one if asked, and makes the mapping read-only.
  void use(bool change) {
    volatile char sum = 0;
    for (size_t i = 0; i < kSize; i += 4096) sum = static_cast<char>(sum + data_[i]);
    if (change) data_[5] = 'y';
    ASSERT_EQ(::mprotect(data_, kSize, PROT_READ), 0);
  }

  char* data_ = nullptr;
};

TEST_F(StartPages, WhatCanComeBackFromItsFileIsLetGo) {
  use(false);
  ASSERT_EQ(resident(data_), 1024);
  EXPECT_GE(release_start_pages(), kSize);
  EXPECT_EQ(resident(data_), 0);
  EXPECT_EQ(data_[kSize - 1], 'x');
}

TEST_F(StartPages, WhatDiffersFromItsFileStays) {
  use(true);
  (void)release_start_pages();
  EXPECT_EQ(data_[5], 'y');
  EXPECT_EQ(resident(data_), 1024);
}

}  // namespace
}  // namespace berth::ops
