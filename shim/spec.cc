#include "spec.h"

#include <nlohmann/json.hpp>
#include <vector>

namespace berth::shim {
namespace {

using nlohmann::json;

constexpr std::string_view kGroupKey = "io.containerd.runc.v2.group";
constexpr std::string_view kSandboxKey = "io.kubernetes.cri.sandbox-id";

// Follows the path of keys and keeps what SpecFacts wants.
class SpecReader : public json::json_sax_t {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(json::number_integer_t) override { return true; }
  bool number_unsigned(json::number_unsigned_t) override { return true; }
  bool number_float(json::number_float_t, const std::string&) override { return true; }
  bool binary(json::binary_t&) override { return true; }
  bool string(std::string& value) override {
    if (path_.size() == 2 && path_[0] == "annotations") {
      if (path_[1] == kGroupKey) group_ = value;
      if (path_[1] == kSandboxKey) sandbox_ = value;
    }
    if (path_.size() == 2 && path_[0] == "linux" && path_[1] == "cgroupsPath") {
      facts_.cgroups_path = value;
    }
    if (in_namespace()) {
      if (path_.back() == "type") type_ = value;
      if (path_.back() == "path") joined_ = !value.empty();
    }
    return true;
  }
  bool start_object(size_t) override {
    const bool is_hook = path_.size() == 3 && path_[0] == "hooks" && path_[2] == "[]" &&
                         (path_[1] == "poststart" || path_[1] == "poststop");
    const bool is_director = path_.size() == 2 && path_[0] == "linux" && path_[1] == "intelRdt";
    if (is_hook || is_director) facts_.needs_runtime = true;
    path_.emplace_back();
    if (in_namespace()) {
      type_.clear();
      joined_ = false;
    }
    return true;
  }
  bool end_object() override {
    if (in_namespace() && type_ == "pid" && !joined_) facts_.own_pid_namespace = true;
    path_.pop_back();
    return true;
  }
  bool start_array(size_t) override {
    path_.emplace_back("[]");
    return true;
  }
  bool end_array() override {
    path_.pop_back();
    return true;
  }
  bool key(std::string& name) override {
    path_.back() = name;
    return true;
  }
  bool parse_error(size_t position, const std::string&, const json::exception&) override {
    error_at_ = position;
    return false;
  }

  size_t error_at() const { return error_at_; }
  SpecFacts facts() {
    facts_.group = group_.empty() ? sandbox_ : group_;
    return facts_;
  }

 private:
  // linux.namespaces[].X
  bool in_namespace() const {
    return path_.size() == 4 && path_[0] == "linux" && path_[1] == "namespaces" && path_[2] == "[]";
  }

  std::vector<std::string> path_;
  SpecFacts facts_;
  std::string group_;
  std::string sandbox_;
  std::string type_;
  bool joined_ = false;
  size_t error_at_ = 0;
};

}  // namespace

Result<SpecFacts> read_spec(std::string_view text) {
  SpecReader reader;
  if (!json::sax_parse(text.begin(), text.end(), &reader)) {
    return invalid_argument("read config.json: it is not JSON at byte " +
                            std::to_string(reader.error_at()));
  }
  return reader.facts();
}

std::string json_member(std::string_view object, const char* key) {
  const json value = json::parse(object.begin(), object.end(), nullptr, false);
  if (!value.is_object()) return {};
  const auto found = value.find(key);
  return found != value.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::string last_error(std::string_view log) {
  std::string found;
  while (!log.empty()) {
    const size_t end = log.find('\n');
    const std::string_view line = log.substr(0, end);
    log.remove_prefix(end == std::string_view::npos ? log.size() : end + 1);
    if (json_member(line, "level") != "error") continue;
    std::string message = json_member(line, "msg");
    if (!message.empty()) found = std::move(message);
  }
  return found;
}

std::string json_string(std::string_view text) {
  return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace berth::shim
