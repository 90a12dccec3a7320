#include "record.h"

namespace berth::metadata {
namespace {

constexpr size_t kMaxIdentifier = 76;  // bytes, as containerd's
constexpr std::string_view kPattern = "^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$";

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_separator(char c) { return c == '.' || c == '_' || c == '-'; }

bool matches_pattern(std::string_view name) {
  bool after_separator = true;  // the beginning is like one: a letter or digit must follow
  for (const char c : name) {
    if (is_alphanumeric(c)) {
      after_separator = false;
    } else if (is_separator(c) && !after_separator) {
      after_separator = true;
    } else {
      return false;
    }
  }
  return !after_separator;
}

}  // namespace

Status validate_identifier(std::string_view name, std::string_view object) {
  const auto refuse = [&](const std::string& why) {
    const std::string prefix = object.empty() ? "" : std::string(object) + ": ";
    return invalid_argument(prefix + why + ": invalid argument");
  };
  if (name.empty()) return refuse("identifier must not be empty");
  if (name.size() > kMaxIdentifier) {
    return refuse("identifier " + quoted(name) + " greater than maximum length (" +
                  std::to_string(kMaxIdentifier) + " characters)");
  }
  if (!matches_pattern(name)) {
    return refuse("identifier " + quoted(name) + " must match " + std::string(kPattern));
  }
  return {};
}

Result<std::string> caller_namespace(const Context& context) {
  BERTH_ASSIGN_OR_RETURN(std::string ns, context.require_ns());
  BERTH_RETURN_IF_ERROR(validate_identifier(ns, "namespace validation"));
  return ns;
}

Status ensure_namespace(Connection& db, std::string_view ns) {
  return run(db, "INSERT OR IGNORE INTO namespaces (name) VALUES (?1)", ns);
}

Result<bool> add_to_lease(Connection& db, const Context& context, std::string_view ns, Kind kind,
                          std::string_view key) {
  const std::string_view lease = context.header(kLeaseHeader);
  if (lease.empty()) return false;
  BERTH_ASSIGN_OR_RETURN(const bool found,
                         exists(db, "SELECT 1 FROM leases WHERE ns = ?1 AND id = ?2", ns, lease));
  if (!found) return not_found("lease " + quoted(lease) + " does not exist: not found");
  BERTH_RETURN_IF_ERROR(run(db, "INSERT OR IGNORE INTO lease_resources VALUES (?1, ?2, ?3, ?4)", ns,
                            lease, kind_name(kind), key));
  return true;
}

Status remove_from_lease(Connection& db, const Context& context, std::string_view ns, Kind kind,
                         std::string_view key) {
  const std::string_view lease = context.header(kLeaseHeader);
  if (lease.empty()) return {};
  return run(db,
             "DELETE FROM lease_resources WHERE ns = ?1 AND lease = ?2 AND kind = ?3 AND key = ?4",
             ns, lease, kind_name(kind), key);
}

}  // namespace berth::metadata
