#include "abi/instance.h"

#include <berth/message.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "ops/logging.h"

namespace berth::abi {
namespace {

/// The canonical codes by which a plugin says "not on this machine" rather than "I am broken".
bool means_skip(int32_t code) {
  const auto status = static_cast<Code>(code);
  return status == Code::kFailedPrecondition || status == Code::kUnimplemented ||
         status == Code::kNotFound;
}

std::string as_text(const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.dump();
}

}  // namespace

Instance::Instance(const berth_plugin& plugin, InstanceSettings settings, const HostFacts& host)
    : plugin_(plugin),
      settings_(std::move(settings)),
      host_(host),
      target_(new bus::Target({settings_.type + "." + settings_.id, settings_.type, settings_.id,
                               settings_.capabilities})) {
  for (uint32_t i = 0; i < plugin_.service_count; ++i) target_->add_service(*plugin_.services[i]);
}

Instance::Step Instance::outcome(std::string_view what, int32_t code) {
  if (code == 0) return {};
  Status status = failure_;
  if (status.ok()) {
    status = Status(static_cast<Code>(code), std::string(what) + " returned " +
                                                 std::string(code_name(static_cast<Code>(code))) +
                                                 " and gave no reason");
  }
  const bool skip = what == "probe" && means_skip(code);
  return {skip ? Outcome::kSkip : Outcome::kFailed, status};
}

Instance::Step Instance::probe() {
  if (plugin_.probe == nullptr) return {};
  failure_ = {};
  return outcome("probe", plugin_.probe(&bus::host_table(), bus::handle_of(this)));
}

Instance::Step Instance::init() {
  failure_ = {};
  const Step step =
      outcome("init", plugin_.init(&bus::host_table(), bus::handle_of(this), &instance_));
  initialized_ = step.outcome == Outcome::kOk;
  if (initialized_) target_->serve(plugin_.handle, instance_);
  return step;
}

Instance::Step Instance::start() {
  if (!BERTH_HAS(&plugin_, start) || plugin_.start == nullptr) return {};
  failure_ = {};
  return outcome("start", plugin_.start(instance_));
}

void Instance::ready() { target_->ready(); }

void Instance::stop(int64_t deadline) {
  target_->refuse("the daemon is stopping");
  const Status stopping =
      unavailable("plugin " + target_->identity().uri + " is stopping: the daemon shuts down");
  target_->cancel_all(stopping);
  if (BERTH_HAS(&plugin_, stop) && plugin_.stop != nullptr && initialized_) {
    plugin_.stop(instance_, deadline);
  }
  if (!target_->wait_idle(deadline)) {
    spdlog::warn("{}: {} calls did not end in time", target_->identity().uri, target_->in_flight());
  }
}

std::string_view Instance::keep(std::string text) {
  const std::lock_guard lock(mutex_);
  return texts_.emplace(text, text).first->second;
}

std::string_view Instance::property(std::string_view name) {
  if (name == "uri") return target_->identity().uri;
  if (name == "type") return settings_.type;
  if (name == "id") return settings_.id;
  if (name == "host-root") return host_.root;
  if (name == "host-state") return host_.state;
  if (name == "address") return host_.address;
  if (name == "ttrpc-address") return host_.ttrpc_address;
  if (name == "version") return host_.version;
  if (name == "root" || name == "state") {
    const std::string path =
        (name == "root" ? host_.root : host_.state) + "/" + target_->identity().uri;
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error) spdlog::error("make {} of {}: {}", path, target_->identity().uri, error.message());
    ::chmod(path.c_str(), 0700);
    return keep(path);
  }
  return {};
}

std::string_view Instance::config(std::string_view path) {
  if (path.empty()) return settings_.config_json;
  const nlohmann::json document = nlohmann::json::parse(settings_.config_json, nullptr, false);
  const nlohmann::json* at = &document;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    const std::string key(path.substr(begin, end - begin));
    if (!at->is_object() || !at->contains(key)) return {};
    at = &at->at(key);
    begin = end + 1;
  }
  return keep(as_text(*at));
}

void Instance::log(uint32_t level, std::string_view text, const berth_header* fields,
                   uint32_t count) {
  ops::Fields all{{"plugin", target_->identity().uri}};
  for (uint32_t i = 0; i < count; ++i) all.emplace_back(view(fields[i].key), view(fields[i].value));
  ops::log(level, text, all);
}

void Instance::unhealthy(std::string_view why) {
  spdlog::error("{} is unhealthy and takes no more calls: {}", target_->identity().uri, why);
  target_->refuse("it reported itself unhealthy: " + std::string(why));
  if (settings_.tell_unhealthy) settings_.tell_unhealthy(std::string(why));
}

uint32_t Instance::bound(std::string_view requirement) {
  const auto found = settings_.bindings.find(std::string(requirement));
  return found == settings_.bindings.end() ? 0 : static_cast<uint32_t>(found->second.size());
}

bus::Target* Instance::connect(std::string_view requirement, uint32_t index) {
  const auto found = settings_.bindings.find(std::string(requirement));
  if (found == settings_.bindings.end() || index >= found->second.size()) return nullptr;
  return found->second[index];
}

}  // namespace berth::abi
