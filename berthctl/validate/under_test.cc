#include "validate/under_test.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "bus/host_table.h"
#include "manifest/elf_note.h"

namespace berth::ctl::validate {
namespace {

constexpr std::chrono::seconds kCancelPatience{5};
constexpr uint64_t kUnlimited = UINT64_MAX;

std::atomic<uint64_t> allocations_left = kUnlimited;
std::atomic<int64_t> allocated = 0;
std::atomic<bool> refuse_threads = false;

/// The table that plugins get: the host's own, with slots in between, and room for those of a later
/// minor.
struct Table {
  berth_host host;
  void* unheard_of[8];
};

void* alloc(uint64_t size) {
  uint64_t left = allocations_left.load();
  while (left != kUnlimited) {
    if (left == 0) return nullptr;
    if (allocations_left.compare_exchange_weak(left, left - 1)) break;
  }
  void* memory = bus::host_table().alloc(size);
  if (memory != nullptr) ++allocated;
  return memory;
}

void dealloc(void* memory) {
  if (memory != nullptr) --allocated;
  bus::host_table().dealloc(memory);
}

int32_t spawn(berth_self* self, berth_callback run, void* context) {
  if (refuse_threads) return BERTH_REFUSED;
  return bus::host_table().spawn(self, run, context);
}

const berth_host* host_of(bool later_minor) {
  static Table one = [] {
    Table made{bus::host_table(), {}};
    made.host.alloc = alloc;
    made.host.dealloc = dealloc;
    made.host.spawn = spawn;
    return made;
  }();
  static Table later = [] {
    Table made = one;
    made.host.struct_size = sizeof(Table);
    made.host.abi_minor = BERTH_ABI_MINOR + 1;
    std::memset(made.unheard_of, 0xa5, sizeof made.unheard_of);
    return made;
  }();
  return later_minor ? &later.host : &one.host;
}

/// What the wrapped entry calls; one plugin per process.
const berth_plugin* wrapped = nullptr;
const berth_host* given = nullptr;

int32_t probe(const berth_host*, berth_self* self) {
  doing("probe");
  return wrapped->probe(given, self);
}

int32_t init(const berth_host*, berth_self* self, void** instance) {
  doing("init");
  return wrapped->init(given, self, instance);
}

/// The plugin's table, with steps that pass our table on in place of the host's.
const berth_plugin& wrap(const berth_plugin& plugin) {
  static berth_plugin table_of_ours;
  wrapped = &plugin;
  table_of_ours = {};
  std::memcpy(&table_of_ours, &plugin, std::min<size_t>(plugin.struct_size, sizeof plugin));
  table_of_ours.probe = plugin.probe == nullptr ? nullptr : probe;
  table_of_ours.init = init;
  return table_of_ours;
}

bool means_skip(Code code) {
  return code == Code::kFailedPrecondition || code == Code::kUnimplemented ||
         code == Code::kNotFound;
}

int64_t nanoseconds(std::chrono::milliseconds time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
}

}  // namespace

Subject& subject() {
  static Subject one;
  return one;
}

void doing(const std::string& what) {
  const std::string line = "[ doing    ] " + what + "\n";
  // Not through stdio: it has to be out before the plugin runs.
  if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) return;
}

Result<PluginUnderTest> PluginUnderTest::load() {
  PluginUnderTest out;
  BERTH_ASSIGN_OR_RETURN(const manifest::Manifest read, manifest::read_manifest(subject().file));
  std::vector<abi::DeclaredPlugin> declared;
  for (const manifest::Plugin& plugin : read.plugins) {
    declared.push_back({plugin.type, plugin.id, plugin.provides});
    if (plugin.uri() == subject().plugin || subject().plugin.empty()) out.plugin_ = plugin;
  }
  BERTH_RETURN_IF_ERROR(abi::check_abi(subject().file, read.abi_major, read.abi_minor));
  doing("load " + subject().file);
  BERTH_ASSIGN_OR_RETURN(const abi::Library library, abi::Library::load(subject().file, declared));
  out.table_ = library.find(out.plugin_.type, out.plugin_.id);
  return out;
}

Status PluginUnderTest::start(const Mischief& mischief, const std::string& directory) {
  host_ = directory.empty() ? std::make_unique<berth::testing::FakeHost>()
                            : std::make_unique<berth::testing::FakeHost>(directory);
  host_->config(subject().config_json);
  for (const manifest::Requirement& need : plugin_.requires_) {
    if (const auto peer = peers_.find(need.service); peer != peers_.end()) {
      host_->bind(need.name, peer->second(*host_));
      continue;
    }
    // What must be there is there and can do nothing: a plugin has to live with that, too.
    for (const std::string& id : stand_ins(need)) host_->bind(need.name, host_->serve_nothing(id));
  }
  set_mischief(mischief);
  given = host_of(mischief.later_minor);
  const Status started = host_->start_plugin(wrap(*table_), plugin_.type, plugin_.id);
  skipped_ = table_->probe != nullptr && means_skip(started.code());
  target_ = host_->target();
  return started;
}

std::vector<std::string> PluginUnderTest::stand_ins(const manifest::Requirement& need) {
  if (need.order_only) return {};
  const auto named = subject().peers.find(need.name);
  if (named != subject().peers.end()) return named->second;
  if (need.cardinality == manifest::Cardinality::kOne) return {need.name};
  return {};
}

std::vector<std::string> PluginUnderTest::unbound() const {
  std::vector<std::string> names;
  for (const manifest::Requirement& need : plugin_.requires_) {
    if (need.order_only || peers_.contains(need.service)) continue;
    if (stand_ins(need).empty()) names.push_back(need.name);
  }
  return names;
}

void PluginUnderTest::stop() {
  if (host_ == nullptr) return;
  doing("stop");
  host_->stop();
}

Outcome PluginUnderTest::call(uint32_t method, std::string_view request,
                              std::chrono::milliseconds patience) const {
  const bus::Method& called = *bus_target().method(method);
  doing("call " + called.full_name() + " with " + std::to_string(request.size()) + " bytes");
  Outcome out;
  const int64_t end = monotonic_now() + nanoseconds(patience);
  {
    ClientCall call = ClientCall::open(target_, method, Context());
    (void)call.send(Message::owning(std::string(request)), nanoseconds(patience));
    call.half_close();
    Message message;
    int32_t got = BERTH_OK;
    while (got == BERTH_OK) {
      got = call.recv(&message, std::max<int64_t>(end - monotonic_now(), 0));
      if (got != BERTH_OK) break;
      ++out.responses;
      out.bytes += message.bytes().size();
    }
    berth_status status{};
    out.ended = got == BERTH_END;
    if (!out.ended) call.cancel();
    if (detail::host->client_status(call.raw(), &status) != 0) out.status = to_status(status);
  }
  out.handler = bus_target().wait_idle(monotonic_now() + nanoseconds(kCancelPatience));
  return out;
}

int64_t PluginUnderTest::allocations() { return allocated; }

void PluginUnderTest::set_mischief(const Mischief& mischief) {
  allocations_left = mischief.allocations_left.value_or(kUnlimited);
  refuse_threads = mischief.refuse_threads;
}

std::string any_request(std::mt19937_64& random) {
  const auto below = [&](uint64_t limit) { return random() % limit; };
  const auto noise = [&](size_t size) {
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    return bytes;
  };
  // A field of text, well formed: number, length, bytes. Messages begin with such fields.
  const auto field = [&] {
    const std::string text = below(2) == 0 ? std::string(below(40), 'a') : noise(below(40));
    std::string bytes(1, static_cast<char>((1 + below(12)) << 3 | 2));
    return bytes + static_cast<char>(text.size()) + text;
  };
  switch (below(4)) {
    case 0:
      return {};
    case 1:
      return noise(below(64));
    case 2:
      return field() + field() + field();
    default: {
      std::string bytes = field() + field();
      if (!bytes.empty()) bytes[below(bytes.size())] = static_cast<char>(random());
      return bytes;
    }
  }
}

}  // namespace berth::ctl::validate
