#include "builtin/version.h"

namespace berth::builtin {

std::string_view version() { return BERTH_VERSION; }
std::string_view revision() { return BERTH_REVISION; }

Status VersionService::Version(Context&, const google::protobuf::Empty&,
                               containerd::services::version::v1::VersionResponse* response) {
  response->set_version(std::string(version()));
  response->set_revision(std::string(revision()));
  return {};
}

}  // namespace berth::builtin
