// containerd.services.version.v1.Version.
#pragma once

#include <berth/plugin.h>

#include "containerd/services/version/v1/version.berth.h"

namespace berth::builtin {

/// Version and revision of the build.
class VersionService final : public containerd::services::version::v1::VersionService {
 public:
  static constexpr std::string_view kNoBlock[] = {"Version"};
  Status Version(Context& context, const google::protobuf::Empty& request,
                 containerd::services::version::v1::VersionResponse* response) override;
};

/// "0.1.0".
std::string_view version();
/// The commit that was built, empty when it was not built from a checkout.
std::string_view revision();

}  // namespace berth::builtin
