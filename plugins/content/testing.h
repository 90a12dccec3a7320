// What the tests of this folder share.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "ingest.h"
#include "store.h"

namespace berth::content {

/// A directory that goes with the test.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string path = (std::filesystem::temp_directory_path() / "berth-content-XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) std::abort();
    path_ = path;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

inline void write_file(const std::string& path, std::string_view contents) {
  std::ofstream(path, std::ios::binary) << contents;
}

/// Bytes that compress and repeat badly enough to tell positions apart.
inline std::string pattern(size_t size, uint32_t seed = 1) {
  std::string bytes(size, '\0');
  uint32_t state = seed * 2654435761U + 1;
  for (char& byte : bytes) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<char>(state >> 24);
  }
  return bytes;
}

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() { reopen(); }

  void reopen() {
    store_.reset();
    log_.clear();
    auto store = Store::open(root(), [this](const std::string& line) { log_.push_back(line); });
    if (!store.ok()) std::abort();
    store_ = std::move(*store);
  }
  const std::string& root() const { return directory_.path(); }
  std::string blob_path(const Digest& digest) const {
    return root() + "/blobs/" + std::string(algorithm_name(digest.algorithm())) + "/" +
           std::string(digest.hex());
  }
  std::string ingest_path(std::string_view ref) const {
    return root() + "/ingest/" + std::string(digest_of(ref).hex());
  }
  std::unique_ptr<Ingest> begin(const std::string& ref, int64_t total = 0,
                                std::optional<Digest> expected = {}) {
    auto ingest = store_->begin(ref, total, expected);
    EXPECT_TRUE(ingest.ok()) << ingest.status().to_string();
    return ingest.ok() ? std::move(*ingest) : nullptr;
  }
  Digest put(std::string_view bytes) {
    auto ingest = begin("put");
    EXPECT_TRUE(ingest->write(bytes).ok());
    EXPECT_TRUE(ingest->commit(0, {}).ok());
    return digest_of(bytes);
  }
  std::vector<std::string> ingest_names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(root() + "/ingest")) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

  TemporaryDirectory directory_;
  std::vector<std::string> log_;
  std::unique_ptr<Store> store_;
};

}  // namespace berth::content
