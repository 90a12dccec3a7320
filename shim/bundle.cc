#include "bundle.h"

#include "containerd/types/runc/options/oci.pb.h"
#include "files.h"
#include "spec.h"

namespace berth::shim {

Result<RuntimeOptions> parse_options(std::string_view type_url, std::string_view value) {
  RuntimeOptions out;
  if (const size_t slash = type_url.rfind('/'); slash != std::string_view::npos) {
    type_url.remove_prefix(slash + 1);
  }
  if (type_url != "containerd.runc.v1.Options") return out;
  containerd::runc::v1::Options message;
  if (!message.ParseFromArray(value.data(), static_cast<int>(value.size()))) {
    return invalid_argument("read the runtime's options: they are no containerd.runc.v1.Options");
  }
  if (!message.binary_name().empty()) out.binary = message.binary_name();
  if (!message.root().empty()) out.root = message.root();
  out.shim_cgroup = message.shim_cgroup();
  out.criu_image_path = message.criu_image_path();
  out.criu_work_path = message.criu_work_path();
  out.systemd_cgroup = message.systemd_cgroup();
  out.no_pivot_root = message.no_pivot_root();
  out.no_new_keyring = message.no_new_keyring();
  out.io_uid = message.io_uid();
  out.io_gid = message.io_gid();
  return out;
}

Status save_options(const std::string& bundle, const RuntimeOptions& options) {
  BERTH_RETURN_IF_ERROR(write_file(bundle + "/runtime", options.binary, 0600));
  return write_file(bundle + "/options.json",
                    "{\"binary_name\":" + json_string(options.binary) +
                        ",\"root\":" + json_string(options.root) +
                        ",\"systemd_cgroup\":" + (options.systemd_cgroup ? "true" : "false") + "}",
                    0600);
}

RuntimeOptions load_options(const std::string& bundle) {
  RuntimeOptions out;
  if (auto binary = read_file(bundle + "/runtime"); binary.ok() && !binary->empty()) {
    out.binary = *std::move(binary);
  }
  if (const auto json = read_file(bundle + "/options.json"); json.ok()) {
    if (std::string root = json_member(*json, "root"); !root.empty()) out.root = std::move(root);
    out.systemd_cgroup = json->find("\"systemd_cgroup\":true") != std::string::npos;
  }
  return out;
}

}  // namespace berth::shim
