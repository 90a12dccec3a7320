#include "config/schema.h"

namespace berth::config {

const std::vector<HostKey>& host_keys() {
  static constexpr std::string_view kNoTcp =
      "clients reach the daemon through its unix socket only";
  static constexpr std::string_view kNoDebug =
      "SIGUSR1 and the metrics tell what the debug socket told";
  static const std::vector<HostKey> keys = {
      {"", "version", "integer", "3", "Version of the layout: 2, 3 and 4 are read."},
      {"", "root", "string", "'/var/lib/berth'",
       "What must survive a reboot: images, layers, metadata."},
      {"", "state", "string", "'/run/berth'", "What need not survive a reboot: sockets, bundles."},
      {"", "temp", "string", "''", "Temporary files; empty: the system's directory.",
       "plugins use their own directories"},
      {"", "plugin_dir", "dirs", std::string("['") + BERTH_PLUGIN_DIR + "']",
       "Where plugins are looked for: a path or a list of paths."},
      {"", "disabled_plugins", "list", "[]", "URIs (TYPE.ID) of plugins that are not loaded."},
      {"", "required_plugins", "list", "[]",
       "URIs of plugins without which the daemon does not start."},
      {"", "oom_score", "integer", "0", "oom_score_adj of the daemon; 0 leaves it."},
      {"", "imports", "list", "[]",
       "More files, as globs relative to this one; they override it in lexical order."},
      {"grpc", "address", "string", "'/run/berth/berth.sock'", "Unix socket of the gRPC services."},
      {"grpc", "uid", "integer", "0", "Owner of the socket."},
      {"grpc", "gid", "integer", "0", "Group that may use the socket (mode 0660)."},
      {"grpc", "group", "string", "''", "Name of that group; empty: the one of gid."},
      {"grpc", "max_recv_message_size", "integer", "16777216", "Largest request in bytes."},
      {"grpc", "max_send_message_size", "integer", "16777216", "Largest response in bytes."},
      {"grpc", "tcp_address", "string", "''", "Not offered.", kNoTcp},
      {"grpc", "tcp_tls_ca", "string", "''", "Not offered.", kNoTcp},
      {"grpc", "tcp_tls_cert", "string", "''", "Not offered.", kNoTcp},
      {"grpc", "tcp_tls_key", "string", "''", "Not offered.", kNoTcp},
      {"grpc", "tcp_tls_common_name", "string", "''", "Not offered.", kNoTcp},
      {"ttrpc", "address", "string", "''",
       "Unix socket of the ttrpc services; empty: the gRPC one with .ttrpc."},
      {"ttrpc", "uid", "integer", "0", "Owner of the socket."},
      {"ttrpc", "gid", "integer", "0", "Group that may use the socket."},
      {"debug", "address", "string", "''", "Not offered.", kNoDebug},
      {"debug", "uid", "integer", "0", "Not offered.", kNoDebug},
      {"debug", "gid", "integer", "0", "Not offered.", kNoDebug},
      {"debug", "level", "string", "'info'",
       "Log level: trace, debug, info, warn, error. SIGHUP reads it again."},
      {"debug", "log_trace_id", "boolean", "false", "Not offered.", "trace ids are not logged"},
      {"debug", "format", "string", "'text'", "Form of the log: text or json."},
      {"metrics", "address", "string", "''", "HOST:PORT that serves /v1/metrics; empty: none."},
      {"metrics", "grpc_histogram", "boolean", "false", "Latency histograms.",
       "they are always served"},
      {"cgroup", "path", "string", "''", "cgroup of the daemon.",
       "the service manager places the daemon"},
  };
  return keys;
}

const HostKey* find_host_key(std::string_view section, std::string_view key) {
  for (const HostKey& one : host_keys()) {
    if (one.section == section && one.key == key) return &one;
  }
  return nullptr;
}

}  // namespace berth::config
