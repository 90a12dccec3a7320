// Events for the daemon, in order, kept while it is away.
#pragma once

#include <berth/ttrpc/client.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace berth::shim {

class Publisher : public std::enable_shared_from_this<Publisher> {
 public:
  /// `address` is the daemon's ttrpc socket. Connects when there is something to say.
  Publisher(std::shared_ptr<ttrpc::Loop> loop, std::string address, std::string ns)
      : loop_(std::move(loop)), address_(std::move(address)), ns_(std::move(ns)) {}

  /// Queues the event `type` (its full name) with its serialized `value`. When more are waiting
  /// than a daemon could want, the oldest goes. `taken` runs on the loop's thread when the daemon
  /// has it. Any thread; never blocks.
  void publish(std::string_view topic, std::string_view type, const std::string& value,
               std::function<void()> taken = {});

  /// The daemon shows that it is there: what waits for another try has it now. Loop's thread.
  void retry_now();

  /// Waits until all have been delivered; false when that takes longer than `seconds`. Not on the
  /// loop's thread.
  bool flush(int seconds);

 private:
  void send_next();  // loop thread
  void answered(const Status& status);

  const std::shared_ptr<ttrpc::Loop> loop_;
  const std::string address_;
  const std::string ns_;
  std::shared_ptr<ttrpc::Client> client_;  // loop thread only
  ttrpc::Loop::Id retry_ = 0;              // loop thread only; the timer of the next try
  std::mutex mutex_;                       // guards what follows
  std::condition_variable delivered_;
  struct Event {
    std::string request;  // a serialized ForwardRequest
    std::function<void()> taken;
  };
  std::deque<Event> queue_;
  bool sending_ = false;  // one at a time, so that the order stays
  int failures_ = 0;      // of the first one, without success between
};

}  // namespace berth::shim
