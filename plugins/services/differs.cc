#include "differs.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace berth::services {

using namespace containerd::services::diff::v1;

namespace {

std::string joined(std::span<const std::string> words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out.empty() ? "none" : out;
}

/// Runs `attempt` with each differ until one answers anything but UNIMPLEMENTED.
template <typename Attempt>
Status first_able(const std::vector<DiffClient>& differs, const Attempt& attempt) {
  Status status = unimplemented("no differ is configured");
  for (const DiffClient& differ : differs) {
    status = attempt(differ);
    if (status.code() != Code::kUnimplemented) return status;
  }
  return status;
}

}  // namespace

Result<std::vector<size_t>> order_of_differs(std::span<const std::string> wanted,
                                             std::span<const std::string> present) {
  if (wanted.empty()) {
    return invalid_argument(
        "the list `default` of differs is empty: name at least one of the plugins of type "
        "io.containerd.differ.v1 that are present (" +
        joined(present) + ")");
  }
  std::vector<size_t> order;
  for (const std::string& id : wanted) {
    const auto found = std::find(present.begin(), present.end(), id);
    if (found == present.end()) {
      return invalid_argument("differ \"" + id +
                              "\" in the list `default` is not present: of type "
                              "io.containerd.differ.v1 there are " +
                              joined(present));
    }
    order.push_back(static_cast<size_t>(found - present.begin()));
  }
  return order;
}

Result<std::vector<std::string>> list_of_json(std::string_view json) {
  const nlohmann::json list = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!list.is_array()) {
    return invalid_argument("configuration value " + std::string(json) + " is not a list");
  }
  std::vector<std::string> out;
  for (const nlohmann::json& item : list) {
    if (!item.is_string()) {
      return invalid_argument("configuration value " + std::string(json) +
                              " is not a list of strings");
    }
    out.push_back(item.get<std::string>());
  }
  return out;
}

Result<std::unique_ptr<Differs>> Differs::create(const Self& self) {
  std::vector<std::string> present;
  for (uint32_t i = 0; i < self.bound("differs"); ++i) {
    present.emplace_back(self.connect("differs", i).id());
  }
  BERTH_ASSIGN_OR_RETURN(const auto wanted, list_of_json(self.config("default")));
  BERTH_ASSIGN_OR_RETURN(const auto order, order_of_differs(wanted, present));
  std::vector<Client> differs;
  for (const size_t index : order) {
    differs.push_back(self.connect_to<Client>("differs", static_cast<uint32_t>(index)));
  }
  return std::make_unique<Differs>(std::move(differs));
}

void Differs::ApplyCall(ServerCall call) {
  if (differs_.size() == 1) return differs_[0].forward(std::move(call), Client::kApply);
  DiffService::ApplyCall(std::move(call));
}

void Differs::DiffCall(ServerCall call) {
  if (differs_.size() == 1) return differs_[0].forward(std::move(call), Client::kDiff);
  DiffService::DiffCall(std::move(call));
}

Status Differs::Apply(Context& context, const ApplyRequest& request, ApplyResponse* response) {
  return first_able(differs_,
                    [&](const Client& differ) { return differ.Apply(context, request, response); });
}

Status Differs::Diff(Context& context, const DiffRequest& request, DiffResponse* response) {
  return first_able(differs_,
                    [&](const Client& differ) { return differ.Diff(context, request, response); });
}

}  // namespace berth::services
