#include "stream.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <future>
#include <mutex>
#include <thread>

#include "files.h"

namespace berth::shim {
namespace {

class StreamTest : public testing::Test {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    auto loop = ttrpc::Loop::start();
    ASSERT_TRUE(loop.ok());
    loop_ = *loop;
  }
  void TearDown() override {
    if (stream_ != nullptr) {
      loop_->post([stream = stream_] { stream->close(); });
      wait();
    }
  }

  // Pipes, or sockets, between which the kernel does not move pages.
  void begin(bool pipes) {
    int in[2];
    int out[2];
    if (pipes) {
      ASSERT_EQ(::pipe2(in, O_CLOEXEC), 0);
      ASSERT_EQ(::pipe2(out, O_CLOEXEC), 0);
    } else {
      ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in), 0);
      ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out), 0);
    }
    writer_.reset(in[1]);
    reader_.reset(out[0]);
    set_nonblocking(in[0]);
    set_nonblocking(out[1]);
    stream_ =
        std::make_shared<Stream>(loop_, UniqueFd(in[0]), UniqueFd(out[1]), UniqueFd(), [this] {
          const std::lock_guard lock(mutex_);
          ended_ = true;
          changed_.notify_all();
        });
    loop_->post([stream = stream_] { stream->begin(); });
  }

  bool wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [this] { return ended_; });
  }

  static std::string pattern(size_t size) {
    std::string text;
    for (size_t i = 0; text.size() < size; ++i) text += std::to_string(i) + ",";
    return text;
  }

  void copies_all(bool pipes) {
    begin(pipes);
    const std::string sent = pattern(3'000'000);
    std::thread producer([&] {
      std::string_view rest = sent;
      while (!rest.empty()) {
        const ssize_t written =
            ::write(writer_.get(), rest.data(), std::min<size_t>(rest.size(), 777));
        if (written <= 0) break;
        rest.remove_prefix(static_cast<size_t>(written));
      }
      writer_.reset();
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    // Nobody has read: what is on its way is bounded by the kernel's buffers and one of ours.
    EXPECT_LT(stream_->copied(), 1'000'000u);
    const std::string received = read_all(reader_.get(), 8u << 20);
    producer.join();
    EXPECT_TRUE(received == sent) << received.size() << " of " << sent.size() << " bytes";
    EXPECT_TRUE(wait());
    EXPECT_EQ(stream_->copied(), sent.size());
  }

  std::shared_ptr<ttrpc::Loop> loop_;
  std::shared_ptr<Stream> stream_;
  UniqueFd writer_;
  UniqueFd reader_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
};

TEST_F(StreamTest, ASlowReaderGetsAllFromAPipe) { copies_all(true); }
TEST_F(StreamTest, ASlowReaderGetsAllThroughABuffer) { copies_all(false); }

// A fifo with a reader, as clients make it.
class TakenTest : public StreamTest {
 protected:
  void SetUp() override {
    StreamTest::SetUp();
    char name[] = "/tmp/berth-stream-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    const std::string fifo = folder_ + "/fifo";
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    reader_.reset(::open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    UniqueFd sink(::open(fifo.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    UniqueFd keep(::open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    int in[2];
    ASSERT_EQ(::pipe2(in, O_CLOEXEC), 0);
    set_nonblocking(in[0]);
    writer_.reset(in[1]);
    stream_ =
        std::make_shared<Stream>(loop_, UniqueFd(in[0]), std::move(sink), std::move(keep), [this] {
          const std::lock_guard lock(mutex_);
          ended_ = true;
          changed_.notify_all();
        });
    loop_->post([stream = stream_] { stream->begin(); });
  }
  void TearDown() override {
    StreamTest::TearDown();
    std::filesystem::remove_all(folder_);
  }

  void write(const std::string& text) {
    ASSERT_EQ(::write(writer_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    on_loop([this] {
      stream_->pump();
      stream_->mark();
    });
  }
  bool taken() {
    bool out = false;
    on_loop([&] { out = stream_->taken(); });
    return out;
  }
  std::string read(size_t size) {
    std::string out(size, ' ');
    const ssize_t count = ::read(reader_.get(), out.data(), size);
    out.resize(count < 0 ? 0 : static_cast<size_t>(count));
    return out;
  }
  void on_loop(const std::function<void()>& work) {
    std::promise<void> done;
    loop_->post([&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }

  std::string folder_;
};

TEST_F(TakenTest, WhatHasBeenReadIs) {
  EXPECT_TRUE(taken()) << "nothing was written";
  write("words");
  EXPECT_FALSE(taken());
  EXPECT_EQ(read(3), "wor");
  EXPECT_FALSE(taken()) << "a part";
  EXPECT_EQ(read(100), "ds");
  EXPECT_TRUE(taken());
  ASSERT_EQ(::write(writer_.get(), "more", 4), 4);
  on_loop([this] { stream_->pump(); });
  EXPECT_TRUE(taken()) << "what came after the mark counts";
}

TEST_F(TakenTest, AlsoBehindTheEnd) {
  write("words");
  writer_.reset();
  EXPECT_TRUE(wait());
  EXPECT_FALSE(taken());
  EXPECT_EQ(read(100), "words");
  EXPECT_EQ(read(100), "") << "the end";
  EXPECT_TRUE(taken());
}

TEST_F(TakenTest, MoreThanAFifoHolds) {
  const std::string chunk(4096, 'x');
  size_t written = 0;
  set_nonblocking(writer_.get());
  for (int i = 0; i < 40; ++i) {
    const ssize_t count = ::write(writer_.get(), chunk.data(), chunk.size());
    if (count > 0) written += static_cast<size_t>(count);
    on_loop([this] { stream_->pump(); });
  }
  on_loop([this] { stream_->mark(); });
  size_t got = 0;
  while (got < written) {
    ASSERT_FALSE(taken()) << got << " of " << written;
    got += read(1000).size();
    on_loop([this] { stream_->pump(); });
  }
  EXPECT_GT(written, size_t{100'000});
  EXPECT_TRUE(taken());
}

TEST_F(TakenTest, WhatNobodyReadsIs) {
  write("words");
  EXPECT_FALSE(taken());
  reader_.reset();
  EXPECT_TRUE(taken());
  writer_.reset();
  EXPECT_TRUE(wait());
  EXPECT_TRUE(taken());
}

TEST_F(StreamTest, ABrokenSinkDoesNotStopTheWriter) {
  begin(true);
  reader_.reset();
  const std::string chunk(1000, 'x');
  for (int i = 0; i < 1000; ++i) {  // far more than a pipe holds
    ASSERT_EQ(::write(writer_.get(), chunk.data(), chunk.size()), 1000);
  }
  writer_.reset();
  EXPECT_TRUE(wait());
}

}  // namespace
}  // namespace berth::shim
