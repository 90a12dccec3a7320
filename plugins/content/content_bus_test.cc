// The service over the bus: streams, flow control, descriptors.
#include <berth/testing/fake_host.h>

#include "content.h"
#include "testing.h"

namespace berth::content {
namespace {

using api::ContentClient;
using api::WriteAction;

class ContentBusTest : public ::testing::Test {
 protected:
  ContentBusTest() {
    auto store = Store::open(directory_.path(), [](const std::string&) {});
    if (!store.ok()) std::abort();
    client_ = ContentClient(host_.serve(std::make_unique<ContentService>(std::move(*store))));
  }

  Status put(const std::string& ref, const std::string& bytes) {
    auto stream = client_.Write(Context());
    api::WriteContentRequest request;
    request.set_action(WriteAction::COMMIT);
    request.set_ref(ref);
    request.set_data(bytes);
    request.set_expected(digest_of(bytes).string());
    stream.Write(request);
    stream.WritesDone();
    return stream.Finish();
  }
  api::ReadContentRequest read_of(const std::string& bytes, int64_t offset = 0, int64_t size = 0) {
    api::ReadContentRequest request;
    request.set_digest(digest_of(bytes).string());
    request.set_offset(offset);
    request.set_size(size);
    return request;
  }

  TemporaryDirectory directory_;
  berth::testing::FakeHost host_;
  ContentClient client_;
};

TEST_F(ContentBusTest, ReadsInChunks) {
  const std::string bytes = pattern((5 << 20) / 2);
  ASSERT_TRUE(put("ref", bytes).ok());
  auto reader = client_.Read(Context(), read_of(bytes));
  api::ReadContentResponse response;
  std::string read;
  int chunks = 0;
  while (reader.Read(&response)) {
    EXPECT_EQ(response.offset(), static_cast<int64_t>(read.size()));
    EXPECT_LE(response.data().size(), 1U << 20);
    read += response.data();
    ++chunks;
  }
  EXPECT_TRUE(reader.Finish().ok());
  EXPECT_EQ(chunks, 3);
  EXPECT_EQ(read, bytes);
}

TEST_F(ContentBusTest, ReadsARange) {
  const std::string bytes = pattern(1000);
  ASSERT_TRUE(put("ref", bytes).ok());
  auto reader = client_.Read(Context(), read_of(bytes, 990, 100));
  api::ReadContentResponse response;
  ASSERT_TRUE(reader.Read(&response));
  EXPECT_EQ(response.offset(), 990);
  EXPECT_EQ(response.data(), bytes.substr(990));
  EXPECT_FALSE(reader.Read(&response));
  EXPECT_TRUE(reader.Finish().ok());
  EXPECT_EQ(client_.Read(Context(), read_of(bytes, 1001)).Finish().code(), Code::kOutOfRange);
  EXPECT_EQ(client_.Read(Context(), read_of("unknown")).Finish().code(), Code::kNotFound);
  EXPECT_TRUE(client_.Read(Context(), read_of(bytes, 1000)).Finish().ok());
}

TEST_F(ContentBusTest, WhoTakesDescriptorsGetsOne) {
  const std::string bytes = pattern(5000);
  ASSERT_TRUE(put("ref", bytes).ok());
  auto reader = client_.Read(Context().with(kAcceptFdsHeader, "1"), read_of(bytes, 7, 10));
  Message message;
  ASSERT_TRUE(reader.read_message(&message));
  api::ReadContentResponse response;
  ASSERT_TRUE(message.parse(&response).ok());
  EXPECT_EQ(response.offset(), 7);
  EXPECT_TRUE(response.data().empty());
  const std::vector<UniqueFd> fds = message.take_fds();
  ASSERT_EQ(fds.size(), 1U);
  EXPECT_EQ(::fcntl(fds[0].get(), F_GETFL) & O_ACCMODE, O_RDONLY);
  std::string read(5000, '\0');
  EXPECT_EQ(::pread(fds[0].get(), read.data(), read.size(), 0), 5000);
  EXPECT_EQ(read, bytes);
  EXPECT_FALSE(reader.read_message(&message));
  EXPECT_TRUE(reader.Finish().ok());
}

TEST_F(ContentBusTest, WhoDoesNotAskGetsNoDescriptor) {
  ASSERT_TRUE(put("ref", "bytes").ok());
  auto reader = client_.Read(Context(), read_of("bytes"));
  Message message;
  ASSERT_TRUE(reader.read_message(&message));
  EXPECT_TRUE(message.take_fds().empty());
}

TEST_F(ContentBusTest, AWriterGetsAnAnswerToEveryMessage) {
  auto stream = client_.Write(Context());
  api::WriteContentRequest request;
  api::WriteContentResponse response;
  request.set_ref("ref");
  request.set_action(WriteAction::STAT);
  ASSERT_TRUE(stream.Write(request));
  ASSERT_TRUE(stream.Read(&response));
  EXPECT_EQ(response.offset(), 0);
  const std::string bytes = pattern(3 << 20);
  request.set_action(WriteAction::WRITE);
  for (int i = 0; i < 3; ++i) {
    request.set_offset(static_cast<int64_t>(i) << 20);
    request.set_data(bytes.substr(static_cast<size_t>(i) << 20, 1 << 20));
    ASSERT_TRUE(stream.Write(request));
    ASSERT_TRUE(stream.Read(&response));
    EXPECT_EQ(response.offset(), static_cast<int64_t>(i + 1) << 20);
  }
  request.clear_data();
  request.set_offset(3 << 20);
  request.set_action(WriteAction::COMMIT);
  ASSERT_TRUE(stream.Write(request));
  ASSERT_TRUE(stream.Read(&response));
  EXPECT_EQ(response.digest(), digest_of(bytes).string());
  EXPECT_FALSE(stream.Read(&response));
  EXPECT_TRUE(stream.Finish().ok());
  EXPECT_EQ(put("again", bytes).code(), Code::kAlreadyExists);
}

TEST_F(ContentBusTest, AClientThatGoesLeavesAResumableIngest) {
  api::WriteContentRequest request;
  api::WriteContentResponse response;
  request.set_ref("ref");
  request.set_action(WriteAction::WRITE);
  request.set_data("first half");
  {
    auto stream = client_.Write(Context());
    ASSERT_TRUE(stream.Write(request));
    ASSERT_TRUE(stream.Read(&response));
  }  // cancelled
  request.clear_data();
  request.set_action(WriteAction::STAT);
  Status status;
  bool answered = false;
  for (int i = 0; i < 1000 && !answered; ++i) {  // until the first handler has noticed
    auto stream = client_.Write(Context());
    stream.Write(request);
    answered = stream.Read(&response);
    if (answered) {
      stream.WritesDone();
      EXPECT_TRUE(stream.Finish().ok());  // its handler is done with the directory
    } else {
      status = stream.Finish();
      ASSERT_EQ(status.code(), Code::kUnavailable) << status.to_string();
      ::usleep(5000);
    }
  }
  ASSERT_TRUE(answered);
  EXPECT_EQ(response.offset(), 10);
}

TEST_F(ContentBusTest, ARefIsFreeOnceItsCommitIsAnswered) {
  auto before = client_.Write(Context());
  for (int i = 0; i < 300; ++i) {
    auto stream = client_.Write(Context());
    api::WriteContentRequest request;
    api::WriteContentResponse response;
    request.set_action(WriteAction::COMMIT);
    request.set_ref("ref");
    request.set_data(std::to_string(i));
    ASSERT_TRUE(stream.Write(request));
    ASSERT_TRUE(stream.Read(&response)) << i << ": " << stream.Finish().to_string();
    // Only now: the call of the commit before has not ended until here.
    std::swap(before, stream);
    stream.WritesDone();
    (void)stream.Finish();
  }
  before.WritesDone();
  EXPECT_TRUE(before.Finish().ok());
}

TEST_F(ContentBusTest, AMalformedWriteIsRefused) {
  ClientCall call =
      ClientCall::open(client_.target(), client_.method(ContentClient::kWrite), Context());
  EXPECT_EQ(call.send(Message::copy_of("\xff\xff\xff")), BERTH_OK);
  EXPECT_EQ(call.finish().code(), Code::kInvalidArgument);
}

TEST_F(ContentBusTest, ListsInBatches) {
  for (int i = 0; i < 120; ++i) ASSERT_TRUE(put("ref", std::to_string(i)).ok());
  std::vector<int> sizes;
  auto reader = client_.List(Context(), {});
  api::ListContentResponse response;
  while (reader.Read(&response)) sizes.push_back(response.info_size());
  EXPECT_TRUE(reader.Finish().ok());
  EXPECT_EQ(sizes, (std::vector<int>{100, 20}));

  api::ListContentRequest request;
  request.add_filters("digest==\"" + digest_of("7").string() + "\"");
  auto filtered = client_.List(Context(), request);
  ASSERT_TRUE(filtered.Read(&response));
  ASSERT_EQ(response.info_size(), 1);
  EXPECT_EQ(response.info(0).digest(), digest_of("7").string());
  EXPECT_EQ(response.info(0).size(), 1);
  EXPECT_FALSE(filtered.Read(&response));
  request.add_filters("digest=");
  EXPECT_EQ(client_.List(Context(), request).Finish().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace berth::content
