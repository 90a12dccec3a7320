#include "daemon_client.h"

#include <grp.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <vector>

#include "config/config.h"

namespace berth::ctl {
namespace {

constexpr const char* kDefaultConfig = "/etc/berth/config.toml";

std::string bytes_of(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Dump(&slices).ok()) return bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

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

/// True when the operation that was just begun succeeded.
bool done(grpc::CompletionQueue& queue) {
  void* tag = nullptr;
  bool ok = false;
  return queue.Next(&tag, &ok) && ok;
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
            const CallOptions& options, const std::function<void(const std::string&)>& response) {
  std::error_code error;
  if (!std::filesystem::exists(address, error)) {
    return unavailable("there is no socket " + address +
                       ": start berthd, or give another --address");
  }
  BERTH_RETURN_IF_ERROR(check_access(address));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  grpc::GenericStub stub(
      grpc::CreateCustomChannel("unix://" + std::filesystem::absolute(address, error).string(),
                                grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + options.timeout);
  for (const auto& [key, value] : options.headers) context.AddMetadata(key, value);
  grpc::CompletionQueue queue;
  auto stream = stub.PrepareCall(&context, "/" + method, &queue);
  stream->StartCall(nullptr);
  bool good = done(queue);
  if (good) {
    const grpc::Slice slice(request);
    stream->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
    good = done(queue);
  }
  while (good) {
    grpc::ByteBuffer message;
    stream->Read(&message, nullptr);
    good = done(queue);
    if (good) response(bytes_of(message));
  }
  grpc::Status status;
  stream->Finish(&status, nullptr);
  (void)done(queue);
  queue.Shutdown();
  if (status.ok()) return {};
  return {static_cast<Code>(status.error_code()), status.error_message()};
}

}  // namespace berth::ctl
