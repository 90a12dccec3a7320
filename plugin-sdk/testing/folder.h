// What tests need that put files and mounts somewhere and wait for others.
#pragma once

#include <berth/shim_client/mounts.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <thread>

namespace berth::testing {

/// Whether it comes to hold within five seconds.
inline bool eventually(const std::function<bool()>& holds) {
  for (int i = 0; i < 500; ++i) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

/// A folder for one test, gone afterwards with what is mounted below it.
class TestFolder {
 public:
  TestFolder() {
    char path[] = "/tmp/berth-test-XXXXXX";
    EXPECT_NE(::mkdtemp(path), nullptr);
    path_ = path;
  }
  ~TestFolder() {
    (void)shim_client::unmount_below(path_);
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

}  // namespace berth::testing
