#include "daemon_client.h"

#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "config/config.h"

namespace berth::ctl {
namespace {

constexpr const char* kDefaultConfig = "/etc/berth/config.toml";

/// Who may use a socket is its group's affair, and gRPC's words for that name neither.
Status check_access(const std::string& address) {
  if (::access(address.c_str(), W_OK) == 0) return {};
  const int reason = errno;
  struct stat facts {};
  if (reason != EACCES || ::stat(address.c_str(), &facts) != 0) return {};
  const group* const owners = ::getgrgid(facts.st_gid);
  return permission_denied(
      "the socket " + address + " is for root and the group " +
      (owners == nullptr ? std::to_string(facts.st_gid) : std::string(owners->gr_name)) +
      ": run this as root or as a member of it");
}

}  // namespace

Result<std::string> default_address() {
  std::error_code error;
  const bool there = std::filesystem::exists(kDefaultConfig, error);
  BERTH_ASSIGN_OR_RETURN(const config::Config config,
                         config::Config::load(there ? kDefaultConfig : "", {}));
  return config.values().grpc.address;
}

Status call(const std::string& address, const std::string& method, const std::string& request,
            const CallOptions& options, const rpc::GrpcClient::OnResponse& response) {
  std::error_code error;
  if (!std::filesystem::exists(address, error)) {
    return unavailable("there is no socket " + address +
                       ": start berthd, or give another --address");
  }
  BERTH_RETURN_IF_ERROR(check_access(address));
  rpc::GrpcClient client(std::filesystem::absolute(address, error).string());
  return client.call(method, {request}, options, response);
}

}  // namespace berth::ctl
