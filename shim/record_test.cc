#include "record.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace berth::shim {
namespace {

constexpr size_t kBound = 80u << 10;

class RecordTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/berth-record-XXXXXX";
    folder_ = ::mkdtemp(name);
    auto opened = Record::open(folder_);
    ASSERT_TRUE(opened.ok());
    record_ = *std::move(opened);
  }
  void TearDown() override {
    record_.reset();
    std::filesystem::remove_all(folder_);
  }

  std::string text() const {
    std::ifstream file(folder_ + "/processes");
    std::stringstream out;
    out << file.rdbuf();
    return out.str();
  }
  bool has(const std::string& line) const {
    return ("\n" + text()).find("\n" + line + "\n") != std::string::npos;
  }
  /// One after the other, from the start to the deletion.
  void lives(const std::string& prefix, int count) {
    for (int i = 0; i < count; ++i) {
      const std::string id = prefix + std::to_string(i);
      record_->started(id, 100 + i);
      record_->ended(id, Exit{100 + i, 0, 1700000000, 5});
      // Whichever comes first.
      if (i % 2 == 0) record_->told(id, 100 + i);
      record_->removed(id);
      if (i % 2 != 0) record_->told(id, 100 + i);
    }
  }

  std::string folder_;
  std::shared_ptr<Record> record_;
};

TEST_F(RecordTest, WhatIsToldAndDeletedDoesNotPileUp) {
  record_->started("", 7);
  record_->started("long", 8);
  record_->started("kept", 9);
  record_->ended("kept", Exit{9, 3, 1700000000, 6});
  record_->told("kept", 9);
  record_->started("untold", 10);
  record_->ended("untold", Exit{10, 4, 1700000000, 7});
  record_->removed("untold");
  for (int round = 0; round < 20; ++round) {
    lives("probe-" + std::to_string(round) + "-", 1000);
    ASSERT_LT(text().size(), kBound) << "after round " << round;
    ASSERT_FALSE(std::filesystem::exists(folder_ + "/processes.new"));
  }
  for (const char* line :
       {"started . 7", "started long 8", "started kept 9", "ended kept 3 1700000000 6", "told kept",
        "started untold 10", "ended untold 4 1700000000 7"}) {
    EXPECT_TRUE(has(line)) << line;
  }
  EXPECT_FALSE(has("told untold"));
  record_->deleted();
  EXPECT_TRUE(has("deleted"));
}

TEST_F(RecordTest, AnIdThatIsUsedAgainIsNotToldByItsFormerProcess) {
  record_->started("e", 11);
  record_->ended("e", Exit{11, 0, 1700000000, 5});
  record_->removed("e");
  record_->started("e", 12);
  record_->told("e", 11);
  EXPECT_FALSE(has("told e"));
  record_->ended("e", Exit{12, 1, 1700000000, 6});
  record_->told("e", 12);
  EXPECT_TRUE(has("told e"));
}

TEST_F(RecordTest, AFileThatCannotBeReplacedIsAppendedTo) {
  std::filesystem::create_directory(folder_ + "/processes.new");
  record_->started("", 7);
  lives("probe-", 2000);
  EXPECT_GT(text().size(), kBound);
  EXPECT_TRUE(has("started . 7"));
  EXPECT_TRUE(has("told probe-1999"));
  std::filesystem::remove(folder_ + "/processes.new");
  lives("again-", 6000);
  EXPECT_LT(text().size(), kBound * 4) << "it is tried again";
  EXPECT_TRUE(has("started . 7"));
}

TEST_F(RecordTest, LinesOfManyThreadsStayWhole) {
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([this, thread] { lives(std::to_string(thread) + "-", 2000); });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_LT(text().size(), kBound);
  std::istringstream lines(text());
  for (std::string line; std::getline(lines, line);) {
    EXPECT_TRUE(line.starts_with("started ") || line.starts_with("ended ") ||
                line.starts_with("told "))
        << line;
  }
}

}  // namespace
}  // namespace berth::shim
