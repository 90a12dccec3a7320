// io.containerd.grpc.v1.diff: tries the differs of io.containerd.differ.v1 in the order of the
// configuration.
#pragma once

#include <berth/plugin.h>

#include <span>
#include <string>
#include <vector>

#include "containerd/services/diff/v1/diff.berth.h"

namespace berth::services {

/// Positions in `present` of the ids in `wanted`, in the order of `wanted`. INVALID_ARGUMENT when
/// one is not present or `wanted` is empty, naming those that are.
Result<std::vector<size_t>> order_of_differs(std::span<const std::string> wanted,
                                             std::span<const std::string> present);

/// The strings of a JSON list, as Self::config gives lists.
Result<std::vector<std::string>> list_of_json(std::string_view json);

class Differs final : public containerd::services::diff::v1::DiffService {
 public:
  using Client = containerd::services::diff::v1::DiffClient;
  static Result<std::unique_ptr<Differs>> create(const Self& self);
  explicit Differs(std::vector<Client> differs) : differs_(std::move(differs)) {}

  // A differ that answers UNIMPLEMENTED leaves the layer to the next one; the last one's answer
  // stands. With one differ its answer stands anyway, so the call is handed over.
  void ApplyCall(ServerCall call) override;
  void DiffCall(ServerCall call) override;
  Status Apply(Context& context, const containerd::services::diff::v1::ApplyRequest& request,
               containerd::services::diff::v1::ApplyResponse* response) override;
  Status Diff(Context& context, const containerd::services::diff::v1::DiffRequest& request,
              containerd::services::diff::v1::DiffResponse* response) override;

 private:
  std::vector<Client> differs_;
};

}  // namespace berth::services
