#include "info.h"

#include <thread>

#include "bundle.h"
#include "children.h"
#include "containerd/types/introspection.pb.h"
#include "files.h"
#include "wire.h"

namespace berth::shim {

Result<std::string> runtime_info(std::string_view input) {
  BERTH_ASSIGN_OR_RETURN(const RuntimeOptions options,
                         parse_options(find_bytes(input, 1), find_bytes(input, 2)));
  containerd::types::RuntimeInfo info;
  info.set_name("io.containerd.runc.v2");
  info.mutable_version()->set_version(BERTH_VERSION);
  if (!input.empty()) {
    info.mutable_options()->set_type_url(std::string(find_bytes(input, 1)));
    info.mutable_options()->set_value(std::string(find_bytes(input, 2)));
  }
  BERTH_ASSIGN_OR_RETURN(const UniqueFd output, memory_file("features"));
  Children children([](const Exit&) {});
  std::thread([&children] { children.serve(); }).detach();
  Command command;
  command.program = options.binary;
  command.arguments = {"features"};
  command.out = output.get();
  const auto exit = children.run(command);
  if (!exit.ok()) return exit.status();
  // Runtimes before runc 1.1 and crun 1.9 have no such command: then it is not said.
  if (exit->status == 0) {
    ::lseek(output.get(), 0, SEEK_SET);
    info.mutable_features()->set_type_url(
        "types.containerd.io/opencontainers/runtime-spec/1/features/Features");
    info.mutable_features()->set_value(read_all(output.get()));
  }
  return info.SerializeAsString();
}

}  // namespace berth::shim
