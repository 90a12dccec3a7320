#include <berth/testing/fake_host.h>

#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <vector>

#include "abi/instance.h"
#include "bus/host_table.h"

namespace berth::testing {

namespace {

/// What lives for ever stays reachable, so that a leak checker tells it from what was forgotten.
template <typename T>
T* for_ever(T* object) {
  static std::mutex mutex;
  static auto* objects = new std::vector<T*>;
  const std::lock_guard lock(mutex);
  objects->push_back(object);
  return object;
}

}  // namespace

struct FakeHost::Running {
  abi::HostFacts facts;
  std::unique_ptr<abi::Instance> instance;
};

FakeHost::FakeHost() {
  bus::host_table();
  std::string name = (std::filesystem::temp_directory_path() / "berth-fake-host-XXXXXX").string();
  directory_ = ::mkdtemp(name.data()) == nullptr ? std::string() : name;
}

FakeHost::FakeHost(std::string directory)
    : directory_(std::move(directory)), own_directory_(false) {
  bus::host_table();
}

FakeHost::~FakeHost() {
  stop();
  std::error_code ignored;
  if (own_directory_ && !directory_.empty()) std::filesystem::remove_all(directory_, ignored);
}

Target FakeHost::serve_table(const berth_service& service, const std::string& id, Handle handle,
                             void* instance) {
  auto* target = for_ever(new bus::Target({"test." + id, "test", id, ""}));
  target->add_service(service);
  target->serve(handle, instance);
  target->ready();
  return Target(bus::handle_of(target));
}

Target FakeHost::serve_nothing(const std::string& id) {
  auto* target = for_ever(new bus::Target({"test." + id, "test", id, ""}));
  target->ready();
  return Target(bus::handle_of(target));
}

Status FakeHost::start_plugin(const berth_plugin& plugin, const std::string& type,
                              const std::string& id) {
  abi::InstanceSettings settings;
  settings.type = type;
  settings.id = id;
  settings.config_json = config_;
  for (const auto& [name, peers] : bindings_) {
    for (const Target peer : peers) {
      settings.bindings[name].push_back(reinterpret_cast<bus::Target*>(peer.raw()));
    }
  }
  running_ = for_ever(new Running);
  running_->facts = {directory_ + "/root", directory_ + "/state", directory_ + "/berth.sock",
                     directory_ + "/berth.sock.ttrpc", "0.0.0"};
  running_->instance =
      std::make_unique<abi::Instance>(plugin, std::move(settings), running_->facts);
  abi::Instance& instance = *running_->instance;
  for (const auto step : {&abi::Instance::probe, &abi::Instance::init, &abi::Instance::start}) {
    const abi::Instance::Step result = (instance.*step)();
    if (result.outcome != abi::Instance::Outcome::kOk) return result.status;
    if (step == &abi::Instance::init) instance.ready();
  }
  target_ = Target(bus::handle_of(&instance.target()));
  return {};
}

void FakeHost::stop() {
  if (target_) running_->instance->stop(monotonic_now() + 5'000'000'000);
  target_ = Target();
}

}  // namespace berth::testing
