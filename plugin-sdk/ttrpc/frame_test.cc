#include <berth/ttrpc/frame.h>
#include <gtest/gtest.h>

#include <vector>

namespace berth::ttrpc {
namespace {

std::vector<Frame> feed_in_steps(FrameParser* parser, std::string_view bytes, size_t step) {
  std::vector<Frame> frames;
  for (size_t at = 0; at < bytes.size(); at += step) {
    parser->feed(bytes.substr(at, step), [&](Frame frame) { frames.push_back(std::move(frame)); });
  }
  return frames;
}

TEST(Frame, HasTheBytesOfTheProtocol) {
  std::string out;
  ASSERT_TRUE(append_frame(0x01020304, kRequest, kRemoteOpen, "hi", &out).ok());
  EXPECT_EQ(out, std::string("\0\0\0\2\1\2\3\4\1\2hi", 12));
}

TEST(Frame, RefusesWhatIsTooLongAndLeavesTheOutputAlone) {
  std::string out = "before";
  const std::string payload(kMaxPayload + 1, 'x');
  EXPECT_EQ(append_frame(1, kRequest, 0, payload, &out).code(), Code::kResourceExhausted);
  EXPECT_EQ(out, "before");
  EXPECT_TRUE(append_frame(1, kRequest, 0, std::string_view(payload).substr(1), &out).ok());
}

TEST(FrameParser, GivesTheSameFramesHoweverTheBytesAreCut) {
  std::string bytes;
  ASSERT_TRUE(append_frame(1, kRequest, 0, "first", &bytes).ok());
  ASSERT_TRUE(append_frame(3, kData, kNoData | kRemoteClosed, "", &bytes).ok());
  ASSERT_TRUE(append_frame(5, kResponse, 0, std::string(100'000, 'y'), &bytes).ok());
  for (const size_t step : {size_t{1}, size_t{7}, size_t{10}, size_t{4096}, bytes.size()}) {
    FrameParser parser;
    const auto frames = feed_in_steps(&parser, bytes, step);
    ASSERT_EQ(frames.size(), 3u) << "step " << step;
    EXPECT_EQ(frames[0].payload, "first");
    EXPECT_EQ(frames[1].stream_id, 3u);
    EXPECT_EQ(frames[1].flags, kNoData | kRemoteClosed);
    EXPECT_EQ(frames[1].payload, "");
    EXPECT_EQ(frames[2].payload, std::string(100'000, 'y'));
    EXPECT_TRUE(parser.at_boundary());
  }
}

TEST(FrameParser, SkipsAnOversizedPayloadAndGoesOn) {
  const uint32_t length = kMaxPayload + 1;
  std::string bytes("\0\x40\0\1\0\0\0\1\1\0", 10);
  bytes.append(length, 'z');
  ASSERT_TRUE(append_frame(3, kRequest, 0, "next", &bytes).ok());
  FrameParser parser;
  const auto frames = feed_in_steps(&parser, bytes, 1 << 16);
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].oversized, length);
  EXPECT_EQ(frames[0].payload, "");
  EXPECT_EQ(frames[1].payload, "next");
}

TEST(FrameParser, KnowsWhenTheStreamEndsInsideAFrame) {
  std::string bytes;
  ASSERT_TRUE(append_frame(1, kRequest, 0, "payload", &bytes).ok());
  FrameParser parser;
  EXPECT_TRUE(
      feed_in_steps(&parser, std::string_view(bytes).substr(0, bytes.size() - 1), 64).empty());
  EXPECT_FALSE(parser.at_boundary());
}

}  // namespace
}  // namespace berth::ttrpc
