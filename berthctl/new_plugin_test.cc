// What can go wrong before a compiler sees anything. That what is made builds and runs is tested in
// tests/authors.
#include "new_plugin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace berth::ctl {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class New : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path().string() + "/berth-new.XXXXXX";
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
  }
  void TearDown() override { fs::remove_all(folder_); }

  Result<std::string> make(const std::string& name, const std::string& type = "service",
                           const std::string& lang = "cpp") const {
    return make_plugin({type, lang, name, folder_ + "/made"}, TEMPLATES);
  }

  std::string folder_;
};

TEST_F(New, FillsInEveryPlaceholderInNamesAndTexts) {
  for (const std::string& pair : offered(TEMPLATES)) {
    const size_t dash = pair.find('-');
    fs::remove_all(folder_ + "/made");
    const auto made = make("my-first2", pair.substr(0, dash), pair.substr(dash + 1));
    ASSERT_TRUE(made.ok()) << made.status().message();
    bool has_readme = false, has_manifest = false;
    for (const auto& entry : fs::recursive_directory_iterator(*made)) {
      EXPECT_EQ(entry.path().string().find('@'), std::string::npos) << entry.path();
      if (!entry.is_regular_file()) continue;
      has_readme = has_readme || entry.path().filename() == "README.md";
      has_manifest = has_manifest || entry.path().filename() == "plugin.toml";
      std::ifstream file(entry.path());
      const std::string text{std::istreambuf_iterator<char>(file), {}};
      EXPECT_EQ(text.find('@'), std::string::npos) << entry.path();
      EXPECT_FALSE(text.empty()) << entry.path();
    }
    EXPECT_TRUE(has_readme) << pair;
    EXPECT_NE(has_manifest, pair.starts_with("runtime"))
        << pair << ": a runtime is a shim, and no plugin";
  }
  EXPECT_THAT(offered(TEMPLATES), Contains("service-cpp"));
}

TEST_F(New, TakesCommonFilesAlong) {
  const auto made = make("mine", "snapshotter", "c");
  ASSERT_TRUE(made.ok()) << made.status().message();
  EXPECT_TRUE(fs::exists(*made + "/filter.c"));
  EXPECT_FALSE(fs::exists(*made + "/common.txt"));
  EXPECT_THAT(offered(TEMPLATES), Not(Contains(HasSubstr("common"))));
}

// A common file that needs another one is to be taken along with it.
TEST_F(New, IncludesWhatIsThere) {
  for (const std::string& pair : offered(TEMPLATES)) {
    const size_t dash = pair.find('-');
    fs::remove_all(folder_ + "/made");
    const auto made = make("mine", pair.substr(0, dash), pair.substr(dash + 1));
    ASSERT_TRUE(made.ok()) << made.status().message();
    for (const auto& entry : fs::directory_iterator(*made)) {
      std::ifstream file(entry.path());
      for (std::string line; std::getline(file, line);) {
        constexpr std::string_view kInclude = "#include \"";
        if (!line.starts_with(kInclude)) continue;
        const std::string name = line.substr(kInclude.size(), line.rfind('"') - kInclude.size());
        // What has a path or is of descriptors is generated.
        if (name.find('/') != std::string::npos || name.ends_with("_descriptors.h")) continue;
        EXPECT_TRUE(fs::exists(*made + "/" + name)) << pair << ": " << entry.path() << ": " << name;
      }
    }
  }
}

TEST_F(New, RefusesNamesThatCannotBeOne) {
  for (const char* name : {"", "x", "Big", "9lives", "-a", "a-", "a--b", "a.b", "a/b", "../a",
                           "über", "a b", "class", "berth", "a_-b"}) {
    EXPECT_EQ(make(name).status().code(), Code::kInvalidArgument) << name;
  }
  EXPECT_FALSE(fs::exists(folder_ + "/made"));
  EXPECT_TRUE(make("a2-b_c").ok());
}

TEST_F(New, RefusesNamesOfFilesThatTheTemplateHas) {
  for (const char* name : {"disk", "plugin"}) {
    const auto made = make(name, "snapshotter", "c");
    EXPECT_EQ(made.status().code(), Code::kInvalidArgument) << name;
    EXPECT_THAT(made.status().message(), HasSubstr(std::string(name) + ".c"));
  }
  EXPECT_FALSE(fs::exists(folder_ + "/made"));
  EXPECT_TRUE(make("disk", "service", "c").ok());
}

// The type of a plugin called "string" would hide Rust's own in its file, a second GreetRequest is
// no message, and archive_error_string is of the library that the differ uses.
TEST_F(New, RefusesNamesThatBecomeWordsOfTheTemplate) {
  const struct {
    const char *name, *type, *lang, *word;
  } cases[] = {
      {"string", "snapshotter", "rust", "String"},
      {"info", "content", "rust", "Info"},
      {"status", "service", "rust", "Status"},
      {"greet-request", "service", "rust", "GreetRequest"},
      {"greet-request", "service", "c", "GreetRequest"},
      {"greet", "service", "cpp", "Greet"},
      {"result", "content", "cpp", "Result"},
      {"status", "content", "cpp", "Status"},
      {"read", "content", "c", "read_status"},
  };
  for (const auto& one : cases) {
    const auto made = make(one.name, one.type, one.lang);
    EXPECT_EQ(made.status().code(), Code::kInvalidArgument) << one.name;
    EXPECT_THAT(made.status().message(), HasSubstr(std::string("has a ") + one.word)) << one.name;
  }
  EXPECT_FALSE(fs::exists(folder_ + "/made"));
}

TEST_F(New, RefusesWordsOfLanguagesAndTools) {
  for (const char* name :
       {"constexpr", "co_await", "char8-t", "size-t", "bitand", "restrict", "become", "core",
        "proc-macro", "std", "linux", "errno", "all", "install", "rebuild-cache"}) {
    EXPECT_EQ(make(name).status().code(), Code::kInvalidArgument) << name;
  }
  EXPECT_TRUE(make("constant").ok());
}

// What C's headers declare is too much to refuse; it is not named as the plugin is.
TEST_F(New, LeavesNamesOfTheCLibraryAlone) {
  for (const auto& [lang, word] :
       {std::pair("c", "struct stat"), std::pair("cpp", "namespace stat")}) {
    for (const char* type : {"snapshotter", "differ", "content"}) {
      fs::remove_all(folder_ + "/made");
      const auto made = make("stat", type, lang);
      ASSERT_TRUE(made.ok()) << made.status().message();
      for (const auto& entry : fs::recursive_directory_iterator(*made)) {
        std::ifstream file(entry.path());
        const std::string text{std::istreambuf_iterator<char>(file), {}};
        if (!entry.path().filename().string().starts_with("stat")) continue;
        EXPECT_EQ(text.find(std::string(word) + " {"), std::string::npos) << entry.path();
      }
    }
  }
}

TEST_F(New, RefusesWhatHasNoTemplateAndSaysWhatHas) {
  const auto made = make("mine", "snapshotter", "cobol");
  EXPECT_EQ(made.status().code(), Code::kUnimplemented);
  EXPECT_THAT(made.status().message(), HasSubstr("service-cpp"));
}

TEST_F(New, NeverWritesOverAnything) {
  fs::create_directory(folder_ + "/made");
  ASSERT_TRUE(make("mine").ok()) << "an empty folder will do";
  const auto again = make("mine");
  EXPECT_EQ(again.status().code(), Code::kAlreadyExists);
  EXPECT_THAT(again.status().message(), HasSubstr(folder_ + "/made is there"));
}

}  // namespace
}  // namespace berth::ctl
