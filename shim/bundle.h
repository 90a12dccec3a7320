// What a shim keeps in the folder of its container, so that another one can clean up after it.
#pragma once

#include <berth/status.h>

#include <string>
#include <string_view>

namespace berth::shim {

struct RuntimeOptions {
  std::string binary = "runc";
  std::string root = "/run/containerd/runc";  // the namespace is added below it
  std::string shim_cgroup;
  std::string criu_image_path;
  std::string criu_work_path;
  bool systemd_cgroup = false;
  bool no_pivot_root = false;
  bool no_new_keyring = false;
  uint32_t io_uid = 0;
  uint32_t io_gid = 0;
};

/// From the fields of a google.protobuf.Any. Types other than containerd.runc.v1.Options belong to
/// other shims and change nothing; INVALID_ARGUMENT when the bytes are malformed.
Result<RuntimeOptions> parse_options(std::string_view type_url, std::string_view value);

/// Writes "runtime" and "options.json", under the names that containerd's shim uses.
Status save_options(const std::string& bundle, const RuntimeOptions& options);
/// Missing files give the defaults.
RuntimeOptions load_options(const std::string& bundle);

}  // namespace berth::shim
