// One direction of a process's input or output.
#pragma once

#include <berth/fd.h>
#include <berth/ttrpc/loop.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>

namespace berth::shim {

/// Copies from one descriptor to another until the source ends, as fast as the sink takes it and
/// holding at most one buffer: a reader that stops stops the writer. Between pipes the kernel moves
/// the pages. A sink that is broken loses what comes, and the source is read on. All functions on
/// the loop's thread.
class Stream : public std::enable_shared_from_this<Stream> {
 public:
  /// `ended` runs once, on the loop's thread, when both descriptors are closed.
  using Ended = std::function<void()>;

  /// Both descriptors non-blocking. `keep` is closed with the sink: the other end of a fifo.
  Stream(std::shared_ptr<ttrpc::Loop> loop, UniqueFd source, UniqueFd sink, UniqueFd keep,
         Ended ended);

  /// With `to_its_end` a broken sink ends the stream, as is right for an input.
  void begin(bool to_its_end = false);
  /// Copies what can be copied now.
  void pump();
  void close();

  /// What has come until now is what taken() is about.
  void mark();
  /// All of it has left this program, and a fifo's reader has read it. True as well when nobody
  /// reads.
  bool taken();
  /// Grows as the reader reads.
  uint64_t passed() const;

  /// Grows with every byte; any thread.
  uint64_t copied() const { return copied_.load(std::memory_order_relaxed); }

 private:
  enum class Wait { kNothing, kSource, kSink };
  enum class Step { kMoved, kSourceEmpty, kSinkFull, kEnd };
  Step step();
  Step step_through_buffer();
  Step discard();
  Step flush();
  void wait_for(Wait what);
  bool is_read_by_others();

  const std::shared_ptr<ttrpc::Loop> loop_;
  UniqueFd source_;
  UniqueFd sink_;
  UniqueFd keep_;  // of a fifo that has been written to its end and not been read to it: alone
  Ended ended_;
  std::atomic<uint64_t> copied_ = 0;
  uint64_t marked_ = 0;
  std::string pending_;  // read and not yet written
  bool splices_;
  bool broken_ = false;  // the sink
  bool to_its_end_ = false;
  Wait waiting_ = Wait::kNothing;
  ttrpc::Loop::Id watch_ = 0;
};

}  // namespace berth::shim
