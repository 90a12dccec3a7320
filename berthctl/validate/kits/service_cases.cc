// Level "serves", for any service: what clients rely on that know its messages, and nothing of what
// it is for.
#include <dirent.h>
#include <malloc.h>

#include <filesystem>
#include <thread>

#include "validate/kits/service_kit.h"

namespace berth::ctl::validate {
namespace {

constexpr int kRounds = 25;

int64_t open_files() {
  const std::filesystem::directory_iterator files("/proc/self/fd");
  return std::distance(begin(files), end(files));
}

// Of all arenas; 0 where a sanitizer has memory of its own.
int64_t heap_in_use() { return static_cast<int64_t>(::mallinfo2().uordblks); }

}  // namespace

TEST_F(ServiceKit, RepliesAreWhatIsDeclared) {
  START_TYPED_OR_RETURN();
  for (const TypedMethod& method : typed()) {
    for (int round = 0; round < kRounds; ++round) {
      const std::string request = round == 0 ? std::string() : request_of(method);
      const Answer answer = ask(method.number, {request});
      ASSERT_NO_FATAL_FAILURE(expect_replies(method, answer));
      expect_words(*method.method, answer);
      EXPECT_TRUE(answer.code >= 0 && answer.code <= 16) << method.method->full_name();
      EXPECT_TRUE(!answer.ended || answer.code == 0 || !answer.message.empty())
          << method.method->full_name() << " fails and does not say why";
      if (!answer.ended) break;  // it waits for something; once is enough
    }
  }
}

// What is no message was never asked: an answer of OK would be one to something else.
TEST_F(ServiceKit, MalformedRequestsAreRefused) {
  START_TYPED_OR_RETURN();
  const std::string noise[] = {std::string("\x0a\xff\xff\xff\xff\x0f", 6), std::string(11, '\xff'),
                               std::string("\x0a\x05no", 4), std::string("\x0f", 1)};
  for (const TypedMethod& method : typed()) {
    for (const std::string& request : noise) {
      const Answer answer = ask(method.number, {request});
      if (!answer.ended) continue;
      EXPECT_NE(answer.code, 0) << method.method->full_name()
                                << " takes bytes that are no message for a request";
    }
  }
}

// Names that are not UTF-8 come back in the words of a failure, which then cannot be sent.
TEST_F(ServiceKit, FailuresCanBeShown) {
  START_OR_RETURN();
  const std::string names[] = {"\xff\xfe", "a\xc3", std::string(199, 'x') + "\xc3\xa4",
                               std::string(200, '\xe2')};
  for (uint32_t i = 0; i < methods().size(); ++i) {
    for (const std::string& name : names) {
      for (char field = 1; field <= 4; ++field) {
        std::string request(1, static_cast<char>(field << 3 | 2));
        if (name.size() >= 128) request += static_cast<char>((name.size() & 0x7f) | 0x80);
        request += static_cast<char>(name.size() < 128 ? name.size() : name.size() >> 7);
        request += name;
        const Answer answer = ask(i, {request});
        expect_words(*methods()[i], answer);
        if (!answer.ended) break;
      }
    }
  }
}

// Who is done with asking gets an end, at once or after some requests; unless there are events to
// wait for.
TEST_F(ServiceKit, StreamsEndWhenTheirCallersAreDone) {
  START_TYPED_OR_RETURN();
  bool any = false;
  for (const TypedMethod& method : typed()) {
    if (!method.method->client_stream()) continue;
    any = true;
    for (const size_t count : {0, 1, 5}) {
      std::vector<std::string> requests(count);
      for (std::string& request : requests) request = request_of(method);
      const Answer answer = ask(method.number, requests, std::chrono::seconds(2));
      EXPECT_TRUE(answer.ended) << method.method->full_name() << " goes on after " << count
                                << " requests and the last of them";
      EXPECT_TRUE(plugin_->bus_target().wait_idle(monotonic_now() + 5'000'000'000))
          << method.method->full_name() << ": the handler goes on";
    }
  }
  if (!any) GTEST_SKIP() << "no method takes a stream";
}

TEST_F(ServiceKit, NobodyWaitsForSlowReaders) {
  START_TYPED_OR_RETURN();
  constexpr int kSlow = 6;
  bool any = false;
  for (const TypedMethod& method : typed()) {
    if (!method.method->server_stream() || method.method->client_stream()) continue;
    for (int round = 0; round < kRounds; ++round) {
      const std::string request = round == 0 ? std::string() : request_of(method);
      const Answer quick = ask(method.number, {request});
      if (!quick.ended) break;  // it waits for something; once is enough
      if (quick.replies.empty()) continue;
      any = true;
      std::vector<ClientCall> slow;
      for (int i = 0; i < kSlow; ++i) {
        slow.push_back(ClientCall::open(plugin_->target(), method.number, Context()));
        (void)slow.back().send(Message::owning(std::string(request)), 1'000'000'000);
        slow.back().half_close();
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      const Answer again = ask(method.number, {request}, std::chrono::seconds(5));
      EXPECT_TRUE(again.ended) << method.method->full_name() << " waits while others do not read";
      for (ClientCall& call : slow) {
        Message message;
        int32_t got = BERTH_OK;
        while (got == BERTH_OK && again.ended) got = call.recv(&message, 5'000'000'000);
        EXPECT_TRUE(got == BERTH_END || !again.ended)
            << method.method->full_name() << " does not end for who reads late";
      }
      break;
    }
  }
  if (!any) GTEST_SKIP() << "no stream of it has anything to read";
}

TEST_F(ServiceKit, TakesNoMoreAndMore) {
  START_OR_RETURN();
  constexpr int kCalls = 200;
  constexpr int64_t kPerCall =
      64;  // bytes; less than anything that was asked for has with its head
  for (uint32_t i = 0; i < methods().size(); ++i) {
    const std::string requests[] = {std::string(), "\x0a\x05hello", std::string(11, '\xff')};
    bool waits = false;
    const auto calls = [&](int count) {
      for (int call = 0; call < count && !waits; ++call) {
        const auto& request = requests[static_cast<size_t>(call) % std::size(requests)];
        waits = !ask(i, {request}).ended;
      }
    };
    calls(kCalls);  // what is kept for good is there now
    int64_t files = 0;
    int64_t bytes = 0;
    for (int attempt = 0; attempt < 3 && !waits; ++attempt) {  // a cache grows, and stops
      const int64_t files_before = open_files();
      const int64_t bytes_before = heap_in_use();
      calls(kCalls);
      files = open_files() - files_before;
      bytes = heap_in_use() - bytes_before;
      if (files < kCalls / 4 && bytes < kCalls * kPerCall) break;
    }
    if (waits) continue;
    EXPECT_LT(files, kCalls / 4) << methods()[i]->full_name() << " keeps files open, call by call";
    EXPECT_LT(bytes, kCalls * kPerCall)
        << methods()[i]->full_name() << " keeps memory, call by call";
  }
}

}  // namespace berth::ctl::validate
