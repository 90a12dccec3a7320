// The bus over a socket: calls of either side to plugins of the other, many at once.
#pragma once

#include <berth/status.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "bus/call.h"
#include "bus/target.h"
#include "link/channel.h"

namespace berth::link {

class Stream;

/// One end; both sides have the same. It lives until it is down and its calls are over.
class Link : public std::enable_shared_from_this<Link> {
 public:
  struct Hooks {
    /// A frame that is about no call, and no ping. On the receiving thread: must not block. An
    /// error ends the link.
    std::function<Status(Frame)> control;
    /// The link has ended for this reason. Returns what calls in flight are answered with. On the
    /// receiving thread, once.
    std::function<Status(const Status&)> down;
  };

  Link(UniqueFd socket, Hooks hooks);
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  /// What the other side may call, by number. Once, before it knows of them.
  void offer(std::vector<bus::Target*> targets);
  /// Begins to receive, on a thread of the link's own that holds it.
  void start();
  /// Ends the link; `down` follows. Any thread.
  void close(const std::string& why);
  bool is_down() const;

  /// Hands the rest of a call, of which the caller has the server end, to method `method` of what
  /// the other side offers as `target`. Does not block. (others)
  void pass(uint32_t target, uint32_t method, bus::Call* call);

  /// False when the link is down. Any thread.
  bool send(FrameType type, std::string_view payload);
  size_t backlog() const { return channel_.backlog(); }

 private:
  friend class Stream;
  friend class PassedCall;
  friend class TakenCall;
  using Streams = std::map<uint32_t, std::shared_ptr<Stream>>;

  void run();
  Status take(Frame frame);
  Status take_open(Frame frame);
  void go_down(const Status& why);
  std::shared_ptr<Stream> find(const FrameHeader& header);
  void forget(const Stream& stream);

  Channel channel_;
  const Hooks hooks_;
  mutable std::mutex mutex_;
  std::vector<bus::Target*> offered_;  // guarded by mutex_, as what follows
  bool down_ = false;
  Status down_status_;        // what calls are answered with
  std::string close_reason_;  // empty unless close() was called
  uint32_t next_stream_ = 1;
  Streams passed_;  // calls of this side
  Streams taken_;   // calls of the other side
};

/// A service and its methods, as one side tells the other.
struct ServiceFacts {
  std::string name;
  std::vector<std::pair<std::string, uint32_t>> methods;  // name, BERTH_METHOD_* flags
  std::string descriptors;
  bool operator==(const ServiceFacts&) const = default;
};
ServiceFacts facts_of(const berth_service& service);
std::vector<ServiceFacts> services_of(const bus::Target& target);

/// A target whose calls are passed on by `pass(context, method index, call)`. It lives for ever,
/// and is not ready yet. Its methods never block, whatever those of the other side do.
bus::Target* make_remote_target(bus::Target::Identity identity,
                                const std::vector<ServiceFacts>& services,
                                std::function<void(uint32_t, bus::Call*)> pass);

}  // namespace berth::link
