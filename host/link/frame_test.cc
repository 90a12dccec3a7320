// Bytes into frames, in pieces of any size; and what is no frame.
#include "link/frame.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bus/host_table.h"
#include "link/control.h"

namespace berth::link {
namespace {

using ::testing::HasSubstr;

class FrameTest : public ::testing::Test {
 protected:
  FrameTest() { bus::host_table(); }

  static std::string frame(FrameType type, const std::string& payload, uint16_t fds = 0) {
    FrameHeader header;
    header.type = type;
    header.stream = 7;
    header.size = static_cast<uint32_t>(payload.size());
    header.fd_count = fds;
    return std::string(reinterpret_cast<const char*>(&header), sizeof header) + payload;
  }

  /// Gives `bytes` to the reader in pieces of `step`.
  static Status feed(FrameReader* reader, std::string_view bytes, size_t step,
                     std::vector<std::string>* payloads) {
    while (!bytes.empty()) {
      const auto space = reader->space();
      EXPECT_FALSE(space.empty());
      const size_t count = std::min({step, bytes.size(), space.size()});
      std::memcpy(space.data(), bytes.data(), count);
      bytes.remove_prefix(count);
      BERTH_RETURN_IF_ERROR(reader->received(count, {}));
      while (auto one = reader->next()) payloads->emplace_back(one->bytes());
    }
    return {};
  }

  static std::string error_of(const std::string& bytes) {
    FrameReader reader;
    std::vector<std::string> payloads;
    return feed(&reader, bytes, bytes.size(), &payloads).message();
  }
};

TEST_F(FrameTest, PiecesOfAnySizeGiveTheSameFrames) {
  const std::vector<std::string> sent = {"one", "", std::string(70'000, 'x'),
                                         std::string(64 << 10, 'y'), "last"};
  std::string bytes;
  for (const std::string& payload : sent) bytes += frame(FrameType::kMessage, payload);
  for (const size_t step : {1UL, 15UL, 16UL, 17UL, 1000UL, 65'536UL, 1'000'000UL}) {
    FrameReader reader;
    std::vector<std::string> got;
    EXPECT_TRUE(feed(&reader, bytes, step, &got).ok());
    EXPECT_EQ(got, sent) << "in pieces of " << step;
    EXPECT_FALSE(reader.in_frame());
  }
}

TEST_F(FrameTest, ACutFrameIsNotGivenOut) {
  const std::string bytes = frame(FrameType::kMessage, std::string(100'000, 'x'));
  for (const size_t size : {1UL, 15UL, 16UL, 50'000UL, bytes.size() - 1}) {
    FrameReader reader;
    std::vector<std::string> got;
    EXPECT_TRUE(feed(&reader, std::string_view(bytes).substr(0, size), 4096, &got).ok());
    EXPECT_TRUE(got.empty());
    EXPECT_TRUE(reader.in_frame());
  }
}

TEST_F(FrameTest, WhatIsNoFrameIsRefused) {
  EXPECT_THAT(error_of("GET / HTTP/1.1\r\nHost: x\r\n"), HasSubstr("does not begin as one"));
  std::string bytes = frame(FrameType::kMessage, "");
  bytes[2] = 0;
  EXPECT_THAT(error_of(bytes), HasSubstr("unknown type 0"));
  bytes[2] = 99;
  EXPECT_THAT(error_of(bytes), HasSubstr("unknown type 99"));
  bytes = frame(FrameType::kMessage, "");
  std::memset(bytes.data() + 8, 0xff, 4);
  EXPECT_THAT(error_of(bytes), HasSubstr("payload of 4294967295 bytes"));
  EXPECT_THAT(error_of(frame(FrameType::kMessage, "", 3)), HasSubstr("did not come with it"));
  EXPECT_THAT(error_of(frame(FrameType::kMessage, "", 300)), HasSubstr("300 descriptors"));
}

TEST_F(FrameTest, DescriptorsThatNoFrameNamesAreRefusedAndClosed) {
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  {
    FrameReader reader;
    const std::string bytes = frame(FrameType::kMessage, "x");
    std::memcpy(reader.space().data(), bytes.data(), bytes.size());
    std::vector<UniqueFd> fds;
    fds.emplace_back(fd);
    EXPECT_THAT(reader.received(bytes.size(), std::move(fds)).message(),
                HasSubstr("descriptors that no frame names"));
  }
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
}

TEST_F(FrameTest, OpenFieldsComeBack) {
  OpenFields fields;
  fields.target = 3;
  fields.method = 9;
  fields.deadline = 123;
  fields.peer.known = 1;
  fields.peer.pid = 42;
  const berth_header headers[] = {{str("key"), str("value"), 0}, {str("empty"), str(""), 0}};
  const std::string bytes = encode(fields, headers, 2);
  size_t end = 0;
  const auto got = decode_open(bytes + "request", &end);
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(end, bytes.size());
  EXPECT_EQ(got->target, 3U);
  EXPECT_EQ(got->method, 9U);
  EXPECT_EQ(got->deadline, 123);
  EXPECT_EQ(got->peer.pid, 42);
  ASSERT_EQ(got->headers.size(), 2U);
  EXPECT_EQ(got->headers[0].second, "value");
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_open(std::string_view(bytes).substr(0, size), &end).ok()) << size;
  }
}

TEST_F(FrameTest, SettingsComeBackAndCutOnesDoNot) {
  Settings settings;
  settings.host.root = "/root";
  settings.instance.config_json = "{}";
  settings.instance.capabilities = "a,b";
  settings.bindings["peer"] = {{0, {"t.i", "t", "i", "c"}, {{"s.S", {{"M", 3}}, "d"}}}};
  settings.bindings["none"] = {};
  const std::string bytes = encode(settings);
  const auto got = decode_settings(bytes);
  ASSERT_TRUE(got.ok()) << got.status().to_string();
  EXPECT_EQ(got->host.root, "/root");
  EXPECT_EQ(got->instance.capabilities, "a,b");
  ASSERT_EQ(got->bindings.at("peer").size(), 1U);
  EXPECT_EQ(got->bindings.at("peer")[0].services, settings.bindings["peer"][0].services);
  EXPECT_TRUE(got->bindings.contains("none"));
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_settings(std::string_view(bytes).substr(0, size)).ok()) << size;
  }
}

}  // namespace
}  // namespace berth::link
