#include "link/link.h"

#include <berth/context.h>
#include <spdlog/spdlog.h>

#include "bus/host_table.h"
#include "bus/workers.h"
#include "link/stream.h"

namespace berth::link {

Link::Link(UniqueFd socket, Hooks hooks) : channel_(std::move(socket)), hooks_(std::move(hooks)) {
  bus::host_table();  // installs it for the memory of frames
}

void Link::offer(std::vector<bus::Target*> targets) {
  const std::lock_guard lock(mutex_);
  offered_ = std::move(targets);
}

void Link::start() {
  std::thread([self = shared_from_this()] { self->run(); }).detach();
}

void Link::close(const std::string& why) {
  {
    const std::lock_guard lock(mutex_);
    if (close_reason_.empty()) close_reason_ = why;
  }
  channel_.shut();
}

bool Link::is_down() const {
  const std::lock_guard lock(mutex_);
  return down_;
}

void Link::run() {
  // Handlers that may block are given threads; those that say that they do not run here.
  const bus::EventScope scope;
  const Status why = channel_.receive([this](Frame frame) { return take(std::move(frame)); });
  channel_.end();
  go_down(why);
}

Status Link::take(Frame frame) {
  switch (frame.header.type) {
    case FrameType::kOpen:
      return take_open(std::move(frame));
    case FrameType::kMessage:
    case FrameType::kHalfClose:
    case FrameType::kCancel:
    case FrameType::kFinish:
    case FrameType::kCredit: {
      // A call that is over here may still be told things that were on their way.
      const std::shared_ptr<Stream> stream = find(frame.header);
      return stream == nullptr ? Status() : stream->take(std::move(frame));
    }
    case FrameType::kPing:
      // Alive means that a handler's thread can be had and runs, not merely that this one does.
      (void)bus::workers().spawn([self = shared_from_this(), payload = std::string(frame.bytes())] {
        self->send(FrameType::kPong, payload);
      });
      return {};
    default:
      return hooks_.control(std::move(frame));
  }
}

Status Link::take_open(Frame frame) {
  if ((frame.header.flags & kFromOpener) == 0) return data_loss("a call that nobody opened");
  size_t end = 0;
  BERTH_ASSIGN_OR_RETURN(OpenFields fields, decode_open(frame.bytes(), &end));
  bus::Target* offered = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (fields.target < offered_.size()) offered = offered_[fields.target];
  }
  if (offered == nullptr) {
    return data_loss("a call of a plugin that was not offered: number " +
                     std::to_string(fields.target));
  }
  bus::Target& target = *offered;
  const bus::Method* method = target.method(fields.method);
  const bool has_request = (frame.header.flags & kHasBody) != 0;
  if (method == nullptr || method->client_stream() == has_request) {
    return data_loss("a call of a method that " + target.identity().uri +
                     " has not, or with another shape");
  }
  bus::CallSettings settings;
  settings.deadline = fields.deadline;
  settings.peer = fields.peer;
  settings.headers = std::make_shared<const bus::Headers>(std::move(fields.headers));
  const uint32_t id = frame.header.stream;
  bus::CallRef call = bus::Call::open(target, fields.method, std::move(settings));
  const auto stream =
      std::make_shared<TakenCall>(shared_from_this(), id, std::move(call), method->server_stream());
  bool twice = false;
  {
    const std::lock_guard lock(mutex_);
    twice = !taken_.emplace(id, stream).second;
  }
  if (twice) return data_loss("two calls of one number");
  std::optional<Message> request;
  if (has_request) request = frame.take_message(end);
  stream->begin(std::move(request));
  return {};
}

void Link::pass(uint32_t target, uint32_t method, bus::Call* call) {
  std::shared_ptr<PassedCall> stream;
  Status refused;
  {
    const std::lock_guard lock(mutex_);
    if (down_) {
      refused = down_status_;
    } else {
      const uint32_t id = next_stream_++;
      stream = std::make_shared<PassedCall>(shared_from_this(), id, bus::CallRef::share(call),
                                            call->is_client_stream());
      passed_.emplace(id, stream);
    }
  }
  if (stream != nullptr) return stream->open(target, method);
  const Status told = refused.with_context("call of " + call->describe());
  const berth_status raw = borrow(told);
  call->finish(&raw, nullptr);
}

bool Link::send(FrameType type, std::string_view payload) {
  FrameHeader header;
  header.type = type;
  return channel_.send(header, payload);
}

std::shared_ptr<Stream> Link::find(const FrameHeader& header) {
  const std::lock_guard lock(mutex_);
  const Streams& streams = (header.flags & kFromOpener) != 0 ? taken_ : passed_;
  const auto found = streams.find(header.stream);
  return found == streams.end() ? nullptr : found->second;
}

void Link::forget(const Stream& stream) {
  std::shared_ptr<Stream> last;  // dies after the lock
  const std::lock_guard lock(mutex_);
  Streams& streams = stream.opened_here() ? passed_ : taken_;
  const auto found = streams.find(stream.id());
  if (found == streams.end() || found->second.get() != &stream) return;
  last = std::move(found->second);
  streams.erase(found);
}

void Link::go_down(const Status& why) {
  Status reason = why;
  {
    const std::lock_guard lock(mutex_);
    // What was received stays the reason, however fast somebody closes for its sake.
    if (!close_reason_.empty() && why.code() == Code::kUnavailable) {
      reason = unavailable(close_reason_);
    }
  }
  const Status told = hooks_.down(reason);
  std::vector<std::shared_ptr<Stream>> streams;
  {
    const std::lock_guard lock(mutex_);
    down_ = true;
    down_status_ = told;
    for (const Streams* all : {&passed_, &taken_}) {
      for (const auto& [id, stream] : *all) streams.push_back(stream);
    }
  }
  for (const std::shared_ptr<Stream>& stream : streams) stream->end(told);
}

ServiceFacts facts_of(const berth_service& service) {
  ServiceFacts facts;
  facts.name = view(service.name);
  for (uint32_t i = 0; i < service.method_count; ++i) {
    facts.methods.emplace_back(view(service.methods[i].name), service.methods[i].flags);
  }
  if (service.descriptors.size != 0) {
    facts.descriptors.assign(static_cast<const char*>(service.descriptors.data),
                             service.descriptors.size);
  }
  return facts;
}

std::vector<ServiceFacts> services_of(const bus::Target& target) {
  std::vector<ServiceFacts> all;
  for (const berth_service* service : target.services()) all.push_back(facts_of(*service));
  return all;
}

namespace {

/// Everything that the tables of a remote target point to.
struct RemoteTables {
  std::vector<ServiceFacts> facts;
  std::vector<std::vector<berth_method>> methods;
  std::vector<berth_service> services;
  std::vector<uint32_t> first_method;  // by service
  std::function<void(uint32_t, bus::Call*)> pass;
};

}  // namespace

bus::Target* make_remote_target(bus::Target::Identity identity,
                                const std::vector<ServiceFacts>& services,
                                std::function<void(uint32_t, bus::Call*)> pass) {
  auto* tables = new RemoteTables{services, {}, {}, {}, std::move(pass)};  // live for ever
  auto* target = new bus::Target(std::move(identity));
  uint32_t first = 0;
  tables->methods.reserve(services.size());
  tables->services.reserve(services.size());
  for (const ServiceFacts& one : tables->facts) {
    std::vector<berth_method>& methods = tables->methods.emplace_back();
    for (const auto& [name, flags] : one.methods) {
      methods.push_back({str(name), flags | BERTH_METHOD_NO_BLOCK, 0});
    }
    berth_service service{};
    service.struct_size = sizeof service;
    service.method_count = static_cast<uint32_t>(methods.size());
    service.name = str(one.name);
    service.methods = methods.data();
    service.descriptors = {one.descriptors.data(), one.descriptors.size(), nullptr, nullptr, 0};
    target->add_service(tables->services.emplace_back(service));
    tables->first_method.push_back(first);
    first += service.method_count;
  }
  target->serve(
      [](void* context, uint32_t service, uint32_t method, berth_call* call) {
        const auto& all = *static_cast<RemoteTables*>(context);
        all.pass(all.first_method[service] + method, reinterpret_cast<bus::Call*>(call));
      },
      tables);
  return target;
}

}  // namespace berth::link
