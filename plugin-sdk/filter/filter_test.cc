#include <berth/filter.h>
#include <gtest/gtest.h>

#include <map>

namespace berth {
namespace {

struct Item {
  std::string name;
  std::string other;
  std::map<std::string, std::string> labels;
};

FieldLookup fields_of(const Item& item) {
  return [&item](std::span<const std::string> path) -> std::optional<std::string> {
    const auto unless_empty = [](const std::string& text) {
      return text.empty() ? std::nullopt : std::optional(text);
    };
    if (path.front() == "name") return unless_empty(item.name);
    if (path.front() == "other") return unless_empty(item.other);
    if (path.front() != "labels") return std::nullopt;
    const auto found = item.labels.find(joined_field_path(path.subspan(1)));
    return found == item.labels.end() ? std::nullopt : std::optional(found->second);
  };
}

const std::vector<Item>& corpus() {
  static const std::vector<Item> items = {
      {"alpha", "", {{"app", "web"}}},                                 // 0
      {"beta", "", {}},                                                // 1
      {"alpha", "", {{"app", "db"}, {"with space", "yes"}}},           // 2
      {"beta", "two words, comma", {{"tier", "back"}}},                // 3
      {"alphabet", "", {{"q\\ \"x\"", "deep"}, {"a.b.c", "dotted"}}},  // 4
      {"", "a/b|c", {{"containerd.io/gc.root", "2020"}}},              // 5
      {"naïve", "日本語", {{"app", "omg_x.y-z"}}},                     // 6
  };
  return items;
}

struct Case {
  std::string filter;
  std::vector<int> matching;
};

class Matching : public testing::TestWithParam<Case> {};

TEST_P(Matching, FindsExactly) {
  const Result<Filter> filter = Filter::parse(GetParam().filter);
  ASSERT_TRUE(filter.ok()) << filter.status().to_string();
  std::vector<int> found;
  for (size_t i = 0; i < corpus().size(); ++i) {
    if (filter->matches(fields_of(corpus()[i]))) found.push_back(static_cast<int>(i));
  }
  EXPECT_EQ(found, GetParam().matching) << GetParam().filter;
}

INSTANTIATE_TEST_SUITE_P(
    Filters, Matching,
    testing::Values(
        Case{"", {0, 1, 2, 3, 4, 5, 6}}, Case{"name", {0, 1, 2, 3, 4, 6}}, Case{"other", {3, 5, 6}},
        Case{"unknown", {}}, Case{"labels", {}}, Case{"labels.app", {0, 2, 6}},
        Case{"labels.app,name", {0, 2, 6}}, Case{"labels.app, name", {0, 2, 6}},
        Case{"labels.app,\tother", {6}}, Case{"  name", {0, 1, 2, 3, 4, 6}},
        Case{"name==alpha", {0, 2}}, Case{"name == alpha", {0, 2}}, Case{"name==  alpha", {0, 2}},
        Case{"name==\"alpha\"", {0, 2}}, Case{"\"name\"==alpha", {0, 2}},
        Case{"name!=alpha", {1, 3, 4, 5, 6}},
        Case{"other!=x", {0, 1, 2, 3, 4, 5, 6}},  // absent counts as empty
        Case{"other!=\"\"", {3, 5, 6}}, Case{"other==\"\"", {}}, Case{"labels.app==web", {0}},
        Case{"labels.app!=web", {1, 2, 3, 4, 5, 6}}, Case{"labels.app==omg_x.y-z", {6}},
        Case{"name==beta,labels.tier==back", {3}}, Case{"name==beta,labels.tier==front", {}},
        Case{"name==alpha,labels.app==db", {2}}, Case{"labels.\"with space\"", {2}},
        Case{"labels.\"with space\"==yes", {2}}, Case{R"(labels."q\\ \"x\""==deep)", {4}},
        Case{"labels.a.b.c==dotted", {4}}, Case{"labels.\"a.b.c\"==dotted", {4}},
        Case{"labels.\"a.b\".c==dotted", {4}}, Case{"labels.\"containerd.io/gc.root\"", {5}},
        Case{"labels.\"containerd.io/gc.root\"~=^20", {5}},
        Case{"other==\"two words, comma\"", {3}}, Case{"name~=alpha", {0, 2, 4}},
        Case{"name~=^alpha$", {0, 2}}, Case{"name~=\"^alpha$\"", {0, 2}},
        Case{"name~=/^alpha$/", {0, 2}}, Case{"name~=|^alpha$|", {0, 2}},
        Case{"name~=^(alpha|beta)$", {0, 1, 2, 3}}, Case{"name~=/^.{4}$/", {1, 3}},
        Case{"name~=/a{0,1}lpha,?/", {0, 2, 4}}, Case{"other~=\"a/b\"", {5}},
        Case{R"(other~=/a\/b/)", {5}}, Case{R"(other~=|a/b\|c|)", {3, 5}},
        Case{"other~=^$", {0, 1, 2, 4}}, Case{"name~=(?i)ALPHA$", {0, 2}},
        Case{R"(name~=\x61lphab)", {4}}, Case{R"(name~="\\bbeta\\b")", {1, 3}},
        Case{"name~=/alpha/,labels.app~=/^d/", {2}}, Case{"name==naïve", {6}},
        Case{"other==日本語", {6}}, Case{R"(other=="\u65e5\u672c\u8a9e")", {6}},
        Case{R"(name=="na\u00efve")", {6}}, Case{R"(name=="\141lpha")", {0, 2}},
        Case{R"(name=="\x62eta")", {1, 3}}, Case{R"(name=="na\xc3\xafve")", {6}},
        Case{R"(other=="\U000065e5\u672c語")", {6}}, Case{"name~=/./,labels.app~=/./", {0, 2, 6}}));

class Broken : public testing::TestWithParam<std::pair<std::string, std::string>> {};

TEST_P(Broken, IsRefusedWithTheReason) {
  const Result<Filter> filter = Filter::parse(GetParam().first);
  ASSERT_FALSE(filter.ok()) << GetParam().first;
  EXPECT_EQ(filter.status().code(), Code::kInvalidArgument);
  EXPECT_NE(filter.status().message().find(GetParam().second), std::string::npos)
      << filter.status().message();
}

using Pair = std::pair<std::string, std::string>;
INSTANTIATE_TEST_SUITE_P(
    Filters, Broken,
    testing::Values(
        Pair{"name==foo,", "[name==foo,]: expected field or quoted"},
        Pair{"labels.", "[labels.]: expected field"}, Pair{",", "[ >|,|< ]: expected field"},
        Pair{"name=foo", "unsupported operator \"=\""},
        Pair{"name===foo", "unsupported operator \"===\""},
        Pair{"name==!foo", "unsupported operator \"==!\""}, Pair{"name?foo", "[name >|?|< foo]"},
        Pair{"name==", "[name==]: expected value or quoted"},
        Pair{"name==foo bar", "[name==foo >| |< bar]: unexpected input"},
        Pair{"name foo", "expected an operator"},
        Pair{"image~=,id?=?x", "[image~= >|,|< id?=?x]: expected value or quoted"},
        Pair{"labels.ns/key==value", "[labels.ns >|/|< key==value]: quoted literal not terminated"},
        Pair{"labels.key==/value", "[labels.key== >|/|< value]: quoted literal not terminated"},
        Pair{"labels.key==\"value", "quoted literal not terminated"},
        Pair{"labels.key==\"value\\\"", "quoted literal not terminated"},
        Pair{"labels.|foo|==x", "[labels. >|||< foo|==x]: invalid quote encountered"},
        Pair{"name==/x/", "invalid quote encountered"}, Pair{"name==\"a\nb\"", "not terminated"},
        Pair{"labels.?\"x\"", "[labels. >|?|< \"x\"]: expected field or quoted"},
        Pair{R"(name=="\q")", "unquoting failed"}, Pair{R"(name=="\x1")", "unquoting failed"},
        Pair{R"(name=="\777")", "unquoting failed"},
        Pair{R"(name=="\U00110000")", "unquoting failed"},
        Pair{R"(name=="\/")", "unquoting failed"}, Pair{"name~=[", "regular expression: missing ]"},
        Pair{"name~=(?<=x)y", "regular expression"}, Pair{"name~=x{2000000}", "regular expression"},
        Pair{std::string("na\0me", 5), "unexpected NUL"},
        Pair{std::string("name==\0", 7), "unexpected NUL"}, Pair{"name==\"\xff\"", "not UTF-8"},
        Pair{"\xc3(", "not UTF-8"}, Pair{"name==.x", "expected value"},
        Pair{"ünder==x", "expected field or quoted"}, Pair{"name~=.", "expected value"},
        Pair{"labels . x", "expected an operator"}));

TEST(Filter, ErrorsNameTheByte) {
  const Result<Filter> filter = Filter::parse("name==foo,x?");
  ASSERT_FALSE(filter.ok());
  EXPECT_NE(filter.status().message().find("(at byte 11)"), std::string::npos)
      << filter.status().message();
}

TEST(FilterSet, IsTheUnionOfItsFilters) {
  const Result<FilterSet> set =
      FilterSet::parse(std::vector<std::string>{"name==beta", "labels.app==web"});
  ASSERT_TRUE(set.ok());
  std::vector<bool> found;
  for (const Item& item : corpus()) found.push_back(set->matches(fields_of(item)));
  EXPECT_EQ(found, (std::vector<bool>{true, true, false, true, false, false, false}));
  EXPECT_FALSE(set->matches_all());
}

TEST(FilterSet, EmptyListAndEmptyFilterMatchAll) {
  const Result<FilterSet> none = FilterSet::parse(std::vector<std::string>{});
  ASSERT_TRUE(none.ok());
  EXPECT_TRUE(none->matches_all());
  const Result<FilterSet> blank = FilterSet::parse(std::vector<std::string>{"name==zzz", ""});
  ASSERT_TRUE(blank.ok());
  for (const Item& item : corpus()) {
    EXPECT_TRUE(none->matches(fields_of(item)));
    EXPECT_TRUE(blank->matches(fields_of(item)));
  }
}

TEST(FilterSet, OneBrokenFilterFailsTheSetAndIsNumbered) {
  const Result<FilterSet> set = FilterSet::parse(std::vector<std::string>{"name==a", "name=a"});
  ASSERT_FALSE(set.ok());
  EXPECT_EQ(set.status().code(), Code::kInvalidArgument);
  EXPECT_TRUE(set.status().message().starts_with("filter 1: ")) << set.status().message();
}

// std::regex would overflow the stack on both.
TEST(Filter, LongInputIsLinear) {
  const Result<Filter> filter = Filter::parse("name~=^(a|b)*(a|b)*c$");
  ASSERT_TRUE(filter.ok());
  Item item;
  item.name = std::string(1 << 20, 'a');
  EXPECT_FALSE(filter->matches(fields_of(item)));
  std::string many = "name";
  for (int i = 0; i < 100000; ++i) many += ",name";
  EXPECT_TRUE(Filter::parse(many).ok());
}

}  // namespace
}  // namespace berth
