// One call on a link. A pump each way moves messages between the bus and the wire, on whichever
// thread makes it possible, and never waits.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>

#include "bus/call.h"
#include "link/frame.h"

namespace berth::link {

class Link;

/// Any thread. Its pumps are serial each, by counting who asked.
class Stream : public std::enable_shared_from_this<Stream> {
 public:
  virtual ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// A frame of this call, other than kOpen, from the other side. An error when the frame is
  /// against the rules.
  Status take(Frame frame);
  /// The link has ended: the call, too, with `status`.
  void end(const Status& status);

  uint32_t id() const { return id_; }
  bool opened_here() const { return opened_here_; }

 protected:
  Stream(std::shared_ptr<Link> link, uint32_t id, bool opened_here, bus::CallRef call);

  /// Bus to wire, and wire to bus.
  void pump_out();
  void pump_in();
  bool send(FrameType type, uint8_t flags, std::string_view head, std::string_view tail = {},
            std::vector<UniqueFd> fds = {});
  void send_message(Message message);
  /// RESOURCE_EXHAUSTED when it is more than a frame can carry.
  Status check_size(const Message& message) const;

  // What the two kinds of ends do differently. The slots of the local call, with a timeout of 0:
  virtual int32_t take_local(berth_message* out) = 0;
  virtual int32_t put_local(const berth_message& message) = 0;
  virtual void when_local_readable(berth_callback run, void* context) = 0;
  virtual void when_local_writable(berth_callback run, void* context) = 0;
  /// A message that was taken. True when it was kept back for the end.
  virtual bool keep_back(Message* message) = 0;
  /// No more comes from the local call.
  virtual void local_ended() = 0;
  /// kHalfClose or kFinish has its turn. True when nothing can follow.
  virtual bool wire_ended(Frame frame) = 0;
  virtual void cancelled_by_wire() = 0;
  virtual void link_ended(const Status& status) = 0;

  void forget();
  void no_more_out() { out_over_ = true; }

  const std::shared_ptr<Link> link_;
  const bus::CallRef call_;

 private:
  void work_out();
  void work_in();
  void give_credit(uint64_t amount);

  const uint32_t id_;
  const bool opened_here_;
  std::atomic<uint32_t> out_asked_{0};
  std::atomic<uint32_t> in_asked_{0};
  bool out_over_ = false;  // of the pump out
  bool in_over_ = false;   // of the pump in
  uint64_t owed_ = 0;      // of the pump in: credit not yet given
  std::mutex mutex_;
  uint64_t outstanding_ = 0;     // guarded by mutex_: sent, and no credit for it yet
  std::deque<Frame> inbox_;      // guarded by mutex_
  uint64_t inbox_charge_ = 0;    // guarded by mutex_
  std::optional<Status> ended_;  // guarded by mutex_: the link's end
};

/// A call of this side: its server end is here, the other side serves it.
class PassedCall final : public Stream {
 public:
  PassedCall(std::shared_ptr<Link> link, uint32_t id, bus::CallRef call, bool client_stream);
  void open(uint32_t target, uint32_t method);

 private:
  int32_t take_local(berth_message* out) override;
  int32_t put_local(const berth_message& message) override;
  void when_local_readable(berth_callback run, void* context) override;
  void when_local_writable(berth_callback run, void* context) override;
  bool keep_back(Message*) override { return false; }
  void local_ended() override;
  bool wire_ended(Frame frame) override;
  void cancelled_by_wire() override {}
  void link_ended(const Status& status) override;

  const bool client_stream_;
};

/// A call of the other side: its client end is here, a plugin of this side serves it.
class TakenCall final : public Stream {
 public:
  TakenCall(std::shared_ptr<Link> link, uint32_t id, bus::CallRef call, bool server_stream);
  /// `request`: of a method without client stream.
  void begin(std::optional<Message> request);

 private:
  int32_t take_local(berth_message* out) override;
  int32_t put_local(const berth_message& message) override;
  void when_local_readable(berth_callback run, void* context) override;
  void when_local_writable(berth_callback run, void* context) override;
  bool keep_back(Message* message) override;
  void local_ended() override;
  bool wire_ended(Frame frame) override;
  void cancelled_by_wire() override;
  void link_ended(const Status& status) override;

  const bool server_stream_;
  Message response_;
};

}  // namespace berth::link
