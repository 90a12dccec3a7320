#include "duration.h"

#include <gtest/gtest.h>

namespace berth::gc {
namespace {

TEST(Duration, ReadsGos) {
  const std::pair<const char*, int64_t> cases[] = {{"0", 0},
                                                   {"0ms", 0},
                                                   {"100ms", 100'000'000},
                                                   {"1s", 1'000'000'000},
                                                   {"1.5s", 1'500'000'000},
                                                   {".5s", 500'000'000},
                                                   {"2m", 120'000'000'000},
                                                   {"1h1m1s", 3'661'000'000'000},
                                                   {"-3s", -3'000'000'000},
                                                   {"+7us", 7'000},
                                                   {"7µs", 7'000},
                                                   {"9ns", 9}};
  for (const auto& [text, nanoseconds] : cases) {
    const auto parsed = parse_duration(text);
    ASSERT_TRUE(parsed.ok()) << text;
    EXPECT_EQ(parsed->count(), nanoseconds) << text;
  }
}

TEST(Duration, RefusesTheRest) {
  for (const char* text : {"", "-", "5", "ms", "1.", ".s", "1..5s", "1 s", "1d", "1s1", "s1",
                           "99999999999h", "1e3s"}) {
    EXPECT_EQ(parse_duration(text).status().code(), Code::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace berth::gc
