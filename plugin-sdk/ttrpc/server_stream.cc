#include "server_stream.h"

namespace berth::ttrpc {
namespace detail {
namespace {

// Data that comes before anybody listens; beyond it the stream fails instead of filling memory.
constexpr size_t kMaxEarlyBytes = 8u << 20;

}  // namespace

void Stream::finish(const Status& status, std::string_view payload) {
  {
    const std::lock_guard lock(mutex);
    if (finished || abandoned) return;
    finished = true;
    on_data = nullptr;
    on_abandoned = nullptr;
    early.clear();
  }
  const auto owner = connection.lock();
  if (owner == nullptr) return;
  owner->forget(id);
  const Status sent = owner->connection().send(
      id, kResponse, 0,
      encode(ResponseEnvelope{status, status.ok() ? std::string(payload) : std::string()}));
  if (sent.code() == Code::kResourceExhausted) {
    const std::string bytes = encode(ResponseEnvelope{sent, {}});
    // A peer that does not read even this one loses the connection: it would wait for its answer
    // for ever.
    if (!owner->connection().send(id, kResponse, 0, bytes).ok()) owner->close();
  }
}

Status Stream::send(std::string_view payload) {
  {
    const std::lock_guard lock(mutex);
    if (finished) return failed_precondition("ttrpc: send on a stream that has been answered");
    if (abandoned) return unavailable("ttrpc: closed");
  }
  const auto owner = connection.lock();
  if (owner == nullptr) return unavailable("ttrpc: closed");
  return owner->connection().send(id, kData, 0, payload);
}

void Stream::receive(Data data) {
  std::unique_lock lock(mutex);
  if (finished || abandoned) return;
  early_bytes += data.payload.size();
  early.push_back(std::move(data));
  if (!on_data && early_bytes > kMaxEarlyBytes) {
    lock.unlock();
    return finish(resource_exhausted("ttrpc: receive data on a stream: nobody takes it"), {});
  }
  if (!on_data || delivering) return;
  delivering = true;
  while (!early.empty()) {
    Data next = std::move(early.front());
    early.pop_front();
    early_bytes -= next.payload.size();
    const auto deliver = on_data;
    lock.unlock();
    if (deliver) deliver(std::move(next));
    lock.lock();
  }
  delivering = false;
}

void Stream::abandon() {
  std::function<void()> run;
  {
    const std::lock_guard lock(mutex);
    if (finished || abandoned) return;
    abandoned = true;
    run.swap(on_abandoned);
    on_data = nullptr;
    early.clear();
  }
  if (run) run();
}

Status ServerConnection::begin(std::function<void()> closed) {
  closed_ = std::move(closed);
  // The connection's callbacks keep this object alive until the connection is closed.
  return connection_->begin(
      [self = shared_from_this()](Frame frame) { self->receive(std::move(frame)); },
      [self = shared_from_this()](const Status&) { self->ended(); });
}

void ServerConnection::receive(Frame frame) {
  switch (frame.type) {
    case kRequest:
      return receive_request(std::move(frame));
    case kData:
      return receive_data(std::move(frame));
    default:
      return;  // a response, or something newer: nothing that a server waits for
  }
}

void ServerConnection::reject(uint32_t id, const Status& status) {
  if (!connection_->send(id, kResponse, 0, encode(ResponseEnvelope{status, {}})).ok()) close();
}

void ServerConnection::hold_back_locked() {
  const bool hold = streams_.size() >= limits_.requests || bytes_ >= limits_.request_bytes;
  if (hold != held_back_) connection_->pause(held_back_ = hold);
}

void ServerConnection::receive_request(Frame frame) {
  if (frame.oversized != 0) {
    return reject(
        frame.stream_id,
        resource_exhausted("ttrpc: receive a message of " + std::to_string(frame.oversized) +
                           " bytes: the limit is " + std::to_string(kMaxPayload)));
  }
  if (frame.stream_id % 2 == 0) {
    return reject(frame.stream_id,
                  invalid_argument("ttrpc: stream id " + std::to_string(frame.stream_id) +
                                   " of a request: a client's ids are odd"));
  }
  RequestEnvelope envelope;
  if (const Status decoded = decode(frame.payload, &envelope); !decoded.ok()) {
    return reject(frame.stream_id, decoded);
  }
  auto stream = std::make_shared<Stream>(weak_from_this(), frame.stream_id, frame.payload.size());
  {
    const std::lock_guard lock(mutex_);
    if (!streams_.emplace(frame.stream_id, stream).second) stream = nullptr;
    if (stream != nullptr) bytes_ += stream->size;
    hold_back_locked();
  }
  if (stream == nullptr) {  // two answers on one id could not be told apart
    return connection_->close(
        invalid_argument("ttrpc: stream id " + std::to_string(frame.stream_id) + " is in use"));
  }
  Request request{std::move(envelope.service),     std::move(envelope.method),
                  std::move(envelope.payload),     envelope.timeout_ns,
                  std::move(envelope.metadata),    peer_,
                  (frame.flags & kRemoteOpen) != 0};
  // Answers for a handler that lets its last handle go: the deleter of this shared pointer sees
  // that.
  const std::shared_ptr<Stream> handle(stream.get(), [stream](Stream*) {
    stream->finish(internal_error("ttrpc: the server dropped the request without an answer"), {});
  });
  handler_(std::move(request), Responder(handle));
}

void ServerConnection::receive_data(Frame frame) {
  std::shared_ptr<Stream> stream;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = streams_.find(frame.stream_id); found != streams_.end()) {
      stream = found->second;
    }
  }
  if (stream == nullptr) return;  // answered meanwhile
  if (frame.oversized != 0) {
    return stream->finish(
        resource_exhausted("ttrpc: receive a message of " + std::to_string(frame.oversized) +
                           " bytes: the limit is " + std::to_string(kMaxPayload)),
        {});
  }
  stream->receive(
      {std::move(frame.payload), (frame.flags & kNoData) == 0, (frame.flags & kRemoteClosed) != 0});
}

void ServerConnection::forget(uint32_t id) {
  const std::lock_guard lock(mutex_);
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  bytes_ -= found->second->size;
  streams_.erase(found);
  hold_back_locked();
}

void ServerConnection::ended() {
  std::unordered_map<uint32_t, std::shared_ptr<Stream>> streams;
  {
    const std::lock_guard lock(mutex_);
    streams.swap(streams_);
    bytes_ = 0;
  }
  for (const auto& [id, stream] : streams) stream->abandon();
  if (closed_) closed_();
}

}  // namespace detail

void Responder::finish(const Status& status, std::string_view payload) const {
  stream_->finish(status, payload);
}

Status Responder::send(std::string_view payload) const { return stream_->send(payload); }

void Responder::on_data(std::function<void(Data)> receive) const {
  std::unique_lock lock(stream_->mutex);
  stream_->on_data = std::move(receive);
  stream_->delivering = true;
  while (!stream_->early.empty()) {
    Data data = std::move(stream_->early.front());
    stream_->early.pop_front();
    stream_->early_bytes -= data.payload.size();
    const auto deliver = stream_->on_data;
    lock.unlock();
    if (deliver) deliver(std::move(data));
    lock.lock();
  }
  stream_->delivering = false;
}

void Responder::on_abandoned(std::function<void()> abandoned) const {
  {
    const std::lock_guard lock(stream_->mutex);
    if (stream_->finished) return;
    if (!stream_->abandoned) {
      stream_->on_abandoned = std::move(abandoned);
      return;
    }
  }
  abandoned();
}

bool Responder::abandoned() const {
  const std::lock_guard lock(stream_->mutex);
  return stream_->abandoned;
}

}  // namespace berth::ttrpc
