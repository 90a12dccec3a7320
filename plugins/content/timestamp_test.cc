#include "timestamp.h"

#include <gtest/gtest.h>

namespace berth::content {
namespace {

TEST(Timestamp, WritesAsGoDoes) {
  EXPECT_EQ(format_timestamp({0, 0}), "1970-01-01T00:00:00Z");
  EXPECT_EQ(format_timestamp({1700000000, 120'000'000}), "2023-11-14T22:13:20.12Z");
  EXPECT_EQ(format_timestamp({1700000000, 1}), "2023-11-14T22:13:20.000000001Z");
}

TEST(Timestamp, ReadsWhatItWrites) {
  for (const timespec time :
       {timespec{0, 0}, timespec{1700000000, 1}, timespec{4102444800, 999'999'999}}) {
    const auto read = parse_timestamp(format_timestamp(time));
    ASSERT_TRUE(read) << format_timestamp(time);
    EXPECT_EQ(read->tv_sec, time.tv_sec);
    EXPECT_EQ(read->tv_nsec, time.tv_nsec);
  }
}

TEST(Timestamp, ReadsZones) {
  const auto read = parse_timestamp("2023-11-14T23:43:20.5+01:30");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->tv_sec, 1700000000);
  EXPECT_EQ(read->tv_nsec, 500'000'000);
  EXPECT_EQ(parse_timestamp("2023-11-14T17:13:20-05:00")->tv_sec, 1700000000);
}

TEST(Timestamp, RefusesTheRest) {
  for (const char* text :
       {"", "x", "2023-11-14", "2023-11-14T22:13:20", "2023-11-14 22:13:20Z",
        "2023-13-14T22:13:20Z", "2023-11-14T22:13:20.Z", "2023-11-14T22:13:20Zx",
        "2023-11-14T22:13:20+1:30", "2023-11-14T22:13:20+0130", "2023-11-14T24:13:20Z"}) {
    EXPECT_FALSE(parse_timestamp(text)) << text;
  }
}

}  // namespace
}  // namespace berth::content
