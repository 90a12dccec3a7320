// A socket that carries frames, with descriptors, both ways.
#pragma once

#include <berth/fd.h>
#include <berth/status.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "link/frame.h"

namespace berth::link {

/// One end of a socket pair. Sending never waits for the other side: what the socket does not take
/// is kept and written by a thread of the channel's own.
class Channel {
 public:
  /// `socket`: a connected stream socket, blocking.
  explicit Channel(UniqueFd socket);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  /// Sends `head` and `tail` as the payload of one frame (size and fd_count are filled in). The
  /// bytes are borrowed for the call. Descriptors are closed here once they are on their way. False
  /// when the channel is shut. Any thread; frames of one thread arrive in order.
  bool send(FrameHeader header, std::string_view head, std::string_view tail = {},
            std::vector<UniqueFd> fds = {});
  /// Bytes that wait for the other side.
  size_t backlog() const;

  /// Receives until the other side or shut() ends it, and says why. `take` is called with each
  /// frame; an error of its ends it, too. One thread.
  Status receive(const std::function<Status(Frame)>& take);
  /// Ends both directions, now; nothing that waits is written any more. Any thread.
  void shut();
  /// shut(), and waits for the thread of the channel's own. Not on that thread.
  void end();

 private:
  struct Waiting {
    std::string bytes;
    size_t written = 0;
    std::vector<UniqueFd> fds;  // go with the first byte
  };

  void write_waiting();

  const UniqueFd socket_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Waiting> waiting_;  // guarded by mutex_, as what follows
  size_t backlog_ = 0;
  bool shut_ = false;
  bool writing_ = false;  // the writer has the front of waiting_ in hand
  std::thread writer_;    // begun when it is first needed
};

}  // namespace berth::link
