#include "link/stream.h"

#include <berth/context.h>

#include "link/link.h"

namespace berth::link {
namespace {

uint64_t charge_of(size_t bytes) { return bytes + BERTH_MESSAGE_CHARGE; }

/// Runs `work` on one thread at a time: who comes while it runs makes it run once more.
template <typename Work>
void serially(std::atomic<uint32_t>* asked, const Work& work) {
  if (asked->fetch_add(1, std::memory_order_acq_rel) != 0) return;
  uint32_t seen = 0;
  do {
    seen = asked->load(std::memory_order_acquire);
    work();
  } while (!asked->compare_exchange_strong(seen, 0, std::memory_order_acq_rel));
}

}  // namespace

Stream::Stream(std::shared_ptr<Link> link, uint32_t id, bool opened_here, bus::CallRef call)
    : link_(std::move(link)), call_(std::move(call)), id_(id), opened_here_(opened_here) {}

Stream::~Stream() = default;

bool Stream::send(FrameType type, uint8_t flags, std::string_view head, std::string_view tail,
                  std::vector<UniqueFd> fds) {
  FrameHeader header;
  header.type = type;
  header.flags = static_cast<uint8_t>(flags | (opened_here_ ? kFromOpener : 0));
  header.stream = id_;
  return link_->channel_.send(header, head, tail, std::move(fds));
}

void Stream::forget() { link_->forget(*this); }

// -- bus to wire ----------------------------------------------------------------------------------

void Stream::pump_out() {
  const auto alive = shared_from_this();
  serially(&out_asked_, [this] { work_out(); });
}

void Stream::work_out() {
  while (!out_over_) {
    {
      const std::lock_guard lock(mutex_);
      if (outstanding_ >= bus::kWindow) return;  // kCredit comes back here
    }
    berth_message raw{};
    switch (take_local(&raw)) {
      case BERTH_OK: {
        Message message(raw);
        if (!keep_back(&message)) send_message(std::move(message));
        break;
      }
      case BERTH_AGAIN:
        when_local_readable([](void* self) { static_cast<Stream*>(self)->pump_out(); }, this);
        return;
      case BERTH_END:
        out_over_ = true;
        local_ended();
        return;
      default:
        out_over_ = true;
        return;
    }
  }
}

Status Stream::check_size(const Message& message) const {
  if (message.bytes().size() + (64U << 20) <= kMaxPayload && message.raw().fd_count <= kMaxFds) {
    return {};
  }
  return resource_exhausted("call of " + call_->describe() + ": a message of " +
                            std::to_string(message.bytes().size()) + " bytes and " +
                            std::to_string(message.raw().fd_count) +
                            " descriptors is too large between two processes");
}

void Stream::send_message(Message message) {
  if (const Status fits = check_size(message); !fits.ok()) return call_->end(fits);
  {
    const std::lock_guard lock(mutex_);
    outstanding_ += charge_of(message.bytes().size());
  }
  send(FrameType::kMessage, 0, message.bytes(), {}, message.take_fds());
}

// -- wire to bus ----------------------------------------------------------------------------------

Status Stream::take(Frame frame) {
  switch (frame.header.type) {
    case FrameType::kCredit: {
      const auto amount = Decoder(frame.bytes()).number<uint64_t>();
      {
        const std::lock_guard lock(mutex_);
        if (amount > outstanding_) {
          return data_loss("the other side gives credit for more than it was sent");
        }
        outstanding_ -= amount;
      }
      pump_out();
      return {};
    }
    case FrameType::kCancel:
      cancelled_by_wire();
      return {};
    default: {
      const std::lock_guard lock(mutex_);
      if (frame.header.type == FrameType::kMessage) {
        if (inbox_charge_ >= bus::kWindow) {
          return data_loss("the other side sends more than it has credit for");
        }
        inbox_charge_ += charge_of(frame.bytes().size());
      }
      inbox_.push_back(std::move(frame));
    }
  }
  pump_in();
  return {};
}

void Stream::end(const Status& status) {
  {
    const std::lock_guard lock(mutex_);
    ended_ = status;
  }
  pump_in();
}

void Stream::pump_in() {
  const auto alive = shared_from_this();
  serially(&in_asked_, [this] { work_in(); });
}

void Stream::work_in() {
  while (!in_over_) {
    std::optional<Frame> end_frame;
    std::optional<Message> message;
    uint64_t charge = 0;
    {
      const std::lock_guard lock(mutex_);
      if (inbox_.empty()) {
        // What has arrived comes first: an answer that was given is not lost with the link.
        if (ended_) break;
        return;
      }
      Frame& frame = inbox_.front();
      if (frame.header.type == FrameType::kMessage) {
        charge = charge_of(frame.bytes().size());
        message = frame.take_message();
      } else {
        end_frame = std::move(frame);
      }
      inbox_.pop_front();
    }
    if (end_frame) {
      in_over_ = wire_ended(*std::move(end_frame));
      continue;
    }
    const int32_t put = put_local(message->raw());
    if (put == BERTH_AGAIN) {
      Frame again;
      again.header.type = FrameType::kMessage;
      again.fds = message->take_fds();
      again.header.fd_count = static_cast<uint16_t>(again.fds.size());
      again.payload = std::move(*message);
      bool link_over = false;
      {
        const std::lock_guard lock(mutex_);
        link_over = ended_.has_value();
        if (!link_over) inbox_.push_front(std::move(again));
      }
      if (link_over) break;
      when_local_writable([](void* self) { static_cast<Stream*>(self)->pump_in(); }, this);
      return;
    }
    if (put == BERTH_OK) message->released();
    {
      const std::lock_guard lock(mutex_);
      inbox_charge_ -= charge;
    }
    give_credit(charge);
  }
  std::optional<Status> ended;
  {
    const std::lock_guard lock(mutex_);
    ended = ended_;
  }
  if (in_over_ || !ended) return;
  in_over_ = true;
  link_ended(*ended);
}

void Stream::give_credit(uint64_t amount) {
  owed_ += amount;
  if (owed_ < bus::kWindow / 4) return;
  send(FrameType::kCredit, 0, Encoder().number(owed_).bytes());
  owed_ = 0;
}

// -- a call of this side --------------------------------------------------------------------------

PassedCall::PassedCall(std::shared_ptr<Link> link, uint32_t id, bus::CallRef call,
                       bool client_stream)
    : Stream(std::move(link), id, true, std::move(call)), client_stream_(client_stream) {}

void PassedCall::open(uint32_t target, uint32_t method) {
  OpenFields fields;
  fields.target = target;
  fields.method = method;
  fields.deadline = call_->deadline();
  fields.peer = call_->peer();
  const std::vector<berth_header>& headers = call_->headers().raw();
  const std::string head = encode(fields, headers.data(), static_cast<uint32_t>(headers.size()));
  if (client_stream_) {
    send(FrameType::kOpen, 0, head);
  } else {
    no_more_out();
    const berth_bytes body = call_->request();
    if (body.size + (64U << 20) > kMaxPayload) {
      return link_ended(resource_exhausted("a request of " + std::to_string(body.size) +
                                           " bytes is too large between two processes"));
    }
    send(FrameType::kOpen, kHasBody, head, {static_cast<const char*>(body.data), body.size});
  }
  // From here on the answer may have come and the call be over; its slots know that.
  call_->on_cancel(
      [](void* self) { static_cast<PassedCall*>(self)->send(FrameType::kCancel, 0, {}); }, this);
  if (client_stream_) pump_out();
}

int32_t PassedCall::take_local(berth_message* out) { return call_->server_recv(0, out); }
int32_t PassedCall::put_local(const berth_message& message) {
  return call_->server_send(message, 0);
}
void PassedCall::when_local_readable(berth_callback run, void* context) {
  call_->server_on_ready(BERTH_READABLE | BERTH_INLINE, run, context);
}
void PassedCall::when_local_writable(berth_callback run, void* context) {
  call_->server_on_ready(BERTH_WRITABLE | BERTH_INLINE, run, context);
}
void PassedCall::local_ended() { send(FrameType::kHalfClose, 0, {}); }

bool PassedCall::wire_ended(Frame frame) {
  if (frame.header.type != FrameType::kFinish) return false;
  Status status;
  if ((frame.header.flags & kFailed) != 0) {
    status = decode_status(frame.bytes())
                 .value_or(data_loss("call of " + call_->describe() + ": its status is cut"));
  }
  const bool with_response = status.ok() && (frame.header.flags & kHasBody) != 0;
  Message response = with_response ? frame.take_message() : Message();
  const berth_status raw = borrow(status);
  forget();
  call_->finish(&raw, with_response ? &response.raw() : nullptr);
  if (with_response) response.released();
  return true;
}

void PassedCall::link_ended(const Status& status) {
  const Status told = status.with_context("call of " + call_->describe());
  const berth_status raw = borrow(told);
  forget();
  call_->finish(&raw, nullptr);
}

// -- a call of the other side ---------------------------------------------------------------------

TakenCall::TakenCall(std::shared_ptr<Link> link, uint32_t id, bus::CallRef call, bool server_stream)
    : Stream(std::move(link), id, false, std::move(call)), server_stream_(server_stream) {}

void TakenCall::begin(std::optional<Message> request) {
  if (request) {
    const berth_message raw = request->raw();
    if (call_->client_send(raw, 0) == BERTH_OK) request->released();
    call_->client_half_close();
  }
  pump_out();
}

int32_t TakenCall::take_local(berth_message* out) { return call_->client_recv(0, out); }
int32_t TakenCall::put_local(const berth_message& message) {
  return call_->client_send(message, 0);
}
void TakenCall::when_local_readable(berth_callback run, void* context) {
  call_->client_on_ready(BERTH_READABLE | BERTH_INLINE, run, context);
}
void TakenCall::when_local_writable(berth_callback run, void* context) {
  call_->client_on_ready(BERTH_WRITABLE | BERTH_INLINE, run, context);
}

bool TakenCall::keep_back(Message* message) {
  if (server_stream_) return false;
  response_ = std::move(*message);  // goes with the status
  return true;
}

void TakenCall::local_ended() {
  const Status* status = call_->status();
  if (status == nullptr || !status->ok()) {
    send(FrameType::kFinish, kFailed,
         encode(status == nullptr ? internal_error("a call that ended has no status") : *status));
  } else if (const Status fits = check_size(response_); !fits.ok()) {
    send(FrameType::kFinish, kFailed, encode(fits));
  } else if (response_.has_memory()) {
    send(FrameType::kFinish, kHasBody, response_.bytes(), {}, response_.take_fds());
    response_ = Message();
  } else {
    send(FrameType::kFinish, 0, {});
  }
  forget();
  call_->client_release();
}

bool TakenCall::wire_ended(Frame frame) {
  if (frame.header.type == FrameType::kHalfClose) call_->client_half_close();
  return false;
}

void TakenCall::cancelled_by_wire() {
  call_->end(cancelled("call of " + call_->describe() + ": cancelled by the caller"));
}

void TakenCall::link_ended(const Status& status) {
  forget();
  call_->end(cancelled("call of " + call_->describe() + ": " + status.message()));
  call_->client_release();
}

}  // namespace berth::link
