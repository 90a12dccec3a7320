#include "bus/host_table.h"

#include <berth/message.h>

#include <cstdlib>

#include "bus/workers.h"

namespace berth::bus {
namespace {

SelfView& self_of(berth_self* self) { return *reinterpret_cast<SelfView*>(self); }
Target& target_of(berth_target* target) { return *reinterpret_cast<Target*>(target); }
Call& call_of(berth_call* call) { return *reinterpret_cast<Call*>(call); }
const Call& call_of(const berth_call* call) { return *reinterpret_cast<const Call*>(call); }
Call& call_of(berth_client* client) { return *reinterpret_cast<Call*>(client); }
const Call& call_of(const berth_client* client) { return *reinterpret_cast<const Call*>(client); }
berth_client* client_of(CallRef call) { return reinterpret_cast<berth_client*>(call.release()); }

// Nothing is thrown across the boundary, in either direction; the host's own code throws only when
// memory is gone, and then the process ends, as it would with overcommit.

berth_str property(berth_self* self, berth_str name) {
  return str(self_of(self).property(view(name)));
}
berth_str config(berth_self* self, berth_str path) { return str(self_of(self).config(view(path))); }
void log(berth_self* self, uint32_t level, berth_str text, const berth_header* fields,
         uint32_t field_count) {
  self_of(self).log(level, view(text), fields, field_count);
}
void fail(berth_self* self, const berth_status* why) { self_of(self).fail(to_status(*why)); }
void* alloc(uint64_t size) { return std::aligned_alloc(64, (size + 63) & ~63ULL); }
void dealloc(void* memory) { std::free(memory); }
int32_t spawn(berth_self*, berth_callback run, void* context) {
  return workers().spawn([run, context] { run(context); }) ? BERTH_OK : BERTH_REFUSED;
}
void unhealthy(berth_self* self, berth_str why) { self_of(self).unhealthy(view(why)); }

uint32_t bound(berth_self* self, berth_str requirement) {
  return self_of(self).bound(view(requirement));
}
berth_target* connect(berth_self* self, berth_str requirement, uint32_t index) {
  return handle_of(self_of(self).connect(view(requirement), index));
}
berth_str target_property(berth_target* target, berth_str name) {
  const Target::Identity& identity = target_of(target).identity();
  const std::string_view key = view(name);
  if (key == "uri") return str(identity.uri);
  if (key == "type") return str(identity.type);
  if (key == "id") return str(identity.id);
  if (key == "capabilities") return str(identity.capabilities);
  return {};
}
uint32_t resolve(berth_target* target, berth_str method) {
  return target_of(target).resolve(view(method));
}

berth_str header(const berth_call* call, berth_str key) {
  return str(call_of(call).headers().find(view(key)));
}
uint32_t headers(const berth_call* call, const berth_header** out) {
  const std::vector<berth_header>& list = call_of(call).headers().raw();
  *out = list.data();
  return static_cast<uint32_t>(list.size());
}
int64_t deadline(const berth_call* call) { return call_of(call).deadline(); }
int32_t is_cancelled(const berth_call* call) { return call_of(call).cancelled() ? 1 : 0; }
void on_cancel(berth_call* call, berth_callback run, void* context) {
  call_of(call).on_cancel(run, context);
}
void peer(const berth_call* call, berth_peer* out) {
  const uint32_t known_to_caller = out->struct_size;
  berth_peer answer = call_of(call).peer();
  answer.struct_size = known_to_caller;
  std::memcpy(out, &answer, std::min<size_t>(known_to_caller, sizeof answer));
}
berth_bytes request(const berth_call* call) { return call_of(call).request(); }
int32_t recv(berth_call* call, int64_t timeout_ns, berth_message* out) {
  return call_of(call).server_recv(timeout_ns, out);
}
int32_t send(berth_call* call, const berth_message* message, int64_t timeout_ns) {
  return call_of(call).server_send(*message, timeout_ns);
}
void on_ready(berth_call* call, uint32_t what, berth_callback run, void* context) {
  call_of(call).server_on_ready(what, run, context);
}
void finish(berth_call* call, const berth_status* status, const berth_message* response) {
  call_of(call).finish(status, response);
}
int32_t forward(berth_call* call, berth_target* target, uint32_t method,
                const berth_message* replacement, const berth_header* overrides,
                uint32_t header_count) {
  return call_of(call).forward(target_of(target), method, replacement, overrides, header_count);
}

berth_client* unary(berth_target* target, uint32_t method, const berth_call_options* options,
                    const berth_message* message) {
  return client_of(Call::unary(target_of(target), method, settings_of(options), *message));
}
berth_client* open(berth_target* target, uint32_t method, const berth_call_options* options) {
  return client_of(Call::open(target_of(target), method, settings_of(options)));
}
int32_t client_send(berth_client* client, const berth_message* message, int64_t timeout_ns) {
  return call_of(client).client_send(*message, timeout_ns);
}
void client_half_close(berth_client* client) { call_of(client).client_half_close(); }
int32_t client_recv(berth_client* client, int64_t timeout_ns, berth_message* out) {
  return call_of(client).client_recv(timeout_ns, out);
}
void client_on_ready(berth_client* client, uint32_t what, berth_callback run, void* context) {
  call_of(client).client_on_ready(what, run, context);
}
void client_cancel(berth_client* client) {
  Call& call = call_of(client);
  call.end(cancelled("call of " + call.describe() + ": cancelled by the caller"));
}
int32_t client_status(const berth_client* client, berth_status* out) {
  const Status* status = call_of(client).status();
  if (status == nullptr) return 0;
  *out = borrow(*status);
  return 1;
}
void client_release(berth_client* client) {
  const CallRef call = CallRef::adopt(&call_of(client));
  call->client_release();
}

}  // namespace

CallSettings settings_of(const berth_call_options* options) {
  CallSettings settings;
  if (BERTH_HAS(options, deadline)) settings.deadline = options->deadline;
  if (options->parent != nullptr) {
    const Call& parent = call_of(options->parent);
    settings.parent = const_cast<Call*>(&parent);
    settings.peer = parent.peer();
    settings.deadline = std::min(settings.deadline, parent.deadline());
    settings.headers =
        Headers::derive(parent.settings().headers, options->headers, options->header_count);
  } else {
    settings.headers = Headers::derive(Headers::none(), options->headers, options->header_count);
  }
  return settings;
}

const berth_host& host_table() {
  static const berth_host table = [] {
    berth_host host{};
    host.struct_size = sizeof host;
    host.abi_major = BERTH_ABI_MAJOR;
    host.abi_minor = BERTH_ABI_MINOR;
    host.property = property;
    host.config = config;
    host.log = log;
    host.fail = fail;
    host.alloc = alloc;
    host.dealloc = dealloc;
    host.spawn = spawn;
    host.unhealthy = unhealthy;
    host.bound = bound;
    host.connect = connect;
    host.target_property = target_property;
    host.resolve = resolve;
    host.header = header;
    host.headers = headers;
    host.deadline = deadline;
    host.cancelled = is_cancelled;
    host.on_cancel = on_cancel;
    host.peer = peer;
    host.request = request;
    host.recv = recv;
    host.send = send;
    host.on_ready = on_ready;
    host.finish = finish;
    host.forward = forward;
    host.unary = unary;
    host.open = open;
    host.client_send = client_send;
    host.client_half_close = client_half_close;
    host.client_recv = client_recv;
    host.client_on_ready = client_on_ready;
    host.client_cancel = client_cancel;
    host.client_status = client_status;
    host.client_release = client_release;
    return host;
  }();
  // The façade inside the host uses the same table.
  [[maybe_unused]] static const bool installed = [] {
    detail::host = &table;
    return true;
  }();
  return table;
}

}  // namespace berth::bus
