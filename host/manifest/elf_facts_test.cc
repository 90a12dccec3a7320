#include "manifest/elf_facts.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <random>

namespace berth::manifest {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;

std::string file_bytes(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(ElfFacts, OfAPluginInC) {
  const auto facts = elf_facts(file_bytes(ECHO_C));
  ASSERT_TRUE(facts.ok()) << facts.status().message();
  EXPECT_EQ(facts->type, ET_DYN);
  EXPECT_THAT(facts->needed, Contains("libc.so.6"));
  EXPECT_THAT(facts->exports, ElementsAre("berth_plugin_entry_v0"));
  EXPECT_TRUE(facts->has_sections);
  EXPECT_FALSE(facts->executable_stack);
  EXPECT_FALSE(facts->text_relocations);
  EXPECT_TRUE(facts->glibc.starts_with("2.")) << facts->glibc;
}

TEST(ElfFacts, OfAProgramThatExportsEverything) {
  const auto facts = elf_facts(file_bytes("/proc/self/exe"));
  ASSERT_TRUE(facts.ok()) << facts.status().message();
  EXPECT_THAT(facts->exports, Contains("main"));
}

TEST(ElfFacts, WhatIsNoElfFileIsRefused) {
  for (const std::string& text :
       {std::string(), std::string("#!/bin/sh\n"), std::string(64, 'x')}) {
    EXPECT_EQ(elf_facts(text).status().message(), "it is not an ELF file");
  }
  std::string narrow = file_bytes(ECHO_C);
  narrow[EI_CLASS] = ELFCLASS32;
  EXPECT_EQ(elf_facts(narrow).status().message(), "it is not a 64-bit little-endian ELF file");
}

TEST(ElfFacts, ATruncatedFileIsRefused) {
  const std::string whole = file_bytes(ECHO_C);
  // Its section headers are the last thing in a file that a linker wrote.
  for (size_t size = 0; size < whole.size(); size += 41) {
    EXPECT_FALSE(elf_facts(std::string_view(whole).substr(0, size)).ok()) << size;
  }
}

TEST(ElfFacts, DamagedFilesAreReadSafely) {
  const std::string whole = file_bytes(ECHO_C);
  std::minstd_rand random(1);
  for (int round = 0; round < 3000; ++round) {
    std::string damaged = whole;
    for (int i = 0; i < 8; ++i) {
      // Half of the damage goes to the headers, where the sizes and offsets are.
      const size_t at =
          random() % 2 == 0 ? random() % damaged.size() : damaged.size() - 1 - random() % 2000;
      damaged[at] = static_cast<char>(random());
    }
    (void)elf_facts(damaged).ok();  // AddressSanitizer looks on
  }
}

}  // namespace
}  // namespace berth::manifest
