#include "builtin/introspection.h"

#include <berth/fd.h>
#include <berth/filter.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "berth/plugin/v1/info.berth.h"
#include "bus/host_table.h"

namespace berth::builtin {
namespace {

namespace pb = containerd::services::introspection::v1;

/// The mark by which containerd's clients tell a skipped plugin from a failed one.
constexpr std::string_view kSkipMark = ": skip plugin";

void describe(const lifecycle::PluginView& view, pb::Plugin* out) {
  out->set_type(view.node.plugin.type);
  out->set_id(view.node.plugin.id);
  for (const manifest::Requirement& need : view.node.plugin.requires_) {
    const auto& known = out->requires_();
    if (std::find(known.begin(), known.end(), need.type) == known.end())
      out->add_requires(need.type);
  }
  for (const std::string& platform : view.node.plugin.platforms) {
    auto* one = out->add_platforms();
    const size_t first = platform.find('/');
    const size_t second = platform.find('/', first + 1);
    one->set_os(platform.substr(0, first));
    if (first != std::string::npos)
      one->set_architecture(platform.substr(first + 1, second - first - 1));
    if (second != std::string::npos) one->set_variant(platform.substr(second + 1));
  }
  for (const std::string& capability : view.node.plugin.capabilities)
    out->add_capabilities(capability);
  if (view.node.state == graph::State::kOk) {
    // It began well, and can serve no more: its process has ended, for example, or is stopped.
    const std::string silence = view.process ? view.process->silence() : std::string();
    const bool ready = view.target == nullptr || view.target->is_ready();
    if (ready && silence.empty()) return;
    const Status status = ready ? unavailable("plugin " + view.node.uri() + ": " + silence)
                                : view.target->availability();
    out->mutable_init_err()->set_code(static_cast<int32_t>(status.code()));
    out->mutable_init_err()->set_message(status.message());
    return;
  }
  auto* error = out->mutable_init_err();
  const bool skipped =
      view.node.state == graph::State::kSkipped || view.node.state == graph::State::kDisabled;
  error->set_code(
      static_cast<int32_t>(view.failure.ok() ? Code::kUnavailable : view.failure.code()));
  error->set_message(view.node.reason + (skipped ? std::string(kSkipMark) : std::string()));
}

FieldLookup lookup(const pb::Plugin& plugin) {
  return [&plugin](std::span<const std::string> path) -> std::optional<std::string> {
    if (path[0] == "type") return plugin.type();
    if (path[0] == "id") return plugin.id();
    if (path[0] == "platforms") return std::string();
    if (path[0] == "capabilities") {
      for (const std::string& capability : plugin.capabilities()) {
        if (path.size() == 2 && path[1] == capability) return std::string();
      }
    }
    return std::nullopt;
  };
}

std::string random_uuid() {
  unsigned char bytes[16];
  if (::getrandom(bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes)) return {};
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3f) | 0x80);
  std::string text;
  for (int i = 0; i < 16; ++i) {
    constexpr char kHex[] = "0123456789abcdef";
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kHex[bytes[i] >> 4];
    text += kHex[bytes[i] & 15];
  }
  return text;
}

}  // namespace

Status IntrospectionService::Plugins(Context&, const PluginsRequest& request,
                                     PluginsResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const FilterSet filters, FilterSet::parse(request.filters()));
  for (const lifecycle::PluginView& view : plugins_.views()) {
    pb::Plugin plugin;
    describe(view, &plugin);
    if (filters.matches(lookup(plugin))) *response->add_plugins() = std::move(plugin);
  }
  return {};
}

Result<std::string> IntrospectionService::uuid() {
  const std::lock_guard lock(mutex_);
  if (!uuid_.empty()) return uuid_;
  std::ifstream(uuid_file_) >> uuid_;
  if (!uuid_.empty()) return uuid_;
  const std::string fresh = random_uuid();
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(uuid_file_).parent_path(), error);
  const std::string temporary = uuid_file_ + ".new";
  {
    UniqueFd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file) return errno_status(errno, "write " + temporary);
    if (::write(file.get(), fresh.data(), fresh.size()) != static_cast<ssize_t>(fresh.size()) ||
        ::fsync(file.get()) != 0) {
      return errno_status(errno, "write " + temporary);
    }
  }
  if (::rename(temporary.c_str(), uuid_file_.c_str()) != 0)
    return errno_status(errno, "rename " + temporary);
  uuid_ = fresh;
  return uuid_;
}

Status IntrospectionService::Server(Context&, const google::protobuf::Empty&,
                                    ServerResponse* response) {
  BERTH_ASSIGN_OR_RETURN(*response->mutable_uuid(), uuid());
  response->set_pid(static_cast<uint64_t>(::getpid()));
  struct stat pid_namespace {};
  if (::stat("/proc/self/ns/pid", &pid_namespace) != 0)
    return errno_status(errno, "look at /proc/self/ns/pid");
  response->set_pidns(pid_namespace.st_ino);
  return {};
}

Status IntrospectionService::PluginInfo(Context& context, const PluginInfoRequest& request,
                                        PluginInfoResponse* response) {
  for (const lifecycle::PluginView& view : plugins_.views()) {
    if (view.node.plugin.type != request.type() || view.node.plugin.id != request.id()) continue;
    describe(view, response->mutable_plugin());
    if (view.target == nullptr) return {};
    const berth::plugin::v1::InfoClient info(
        Target(bus::handle_of(const_cast<bus::Target*>(view.target))));
    if (info.method(berth::plugin::v1::InfoClient::kPluginInfo) == BERTH_NO_METHOD) {
      if (!request.has_options()) return {};
      return unimplemented("plugin info of " + view.node.uri() + ": it takes no options");
    }
    berth::plugin::v1::PluginInfoRequest question;
    if (request.has_options()) *question.mutable_options() = request.options();
    berth::plugin::v1::PluginInfoResponse answer;
    BERTH_RETURN_IF_ERROR(info.PluginInfo(context, question, &answer));
    if (answer.has_extra()) *response->mutable_extra() = answer.extra();
    return {};
  }
  return not_found("plugin info of " + request.type() + "." + request.id() + ": no such plugin");
}

}  // namespace berth::builtin
