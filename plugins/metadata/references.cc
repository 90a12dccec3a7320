#include "references.h"

namespace berth::metadata {
namespace {

constexpr std::string_view kRoot = "containerd.io/gc.root";
constexpr std::string_view kExpire = "containerd.io/gc.expire";
constexpr std::string_view kFlat = "containerd.io/gc.flat";
constexpr std::string_view kRef = "containerd.io/gc.ref.";
constexpr std::string_view kBackRef = "containerd.io/gc.bref.";

struct Target {
  Kind kind;
  std::string key;
};

// What follows the kind in a label's key may be a name of the reference: ".config", "/0".
bool is_named(std::string_view rest) {
  return rest.empty() || rest.front() == '.' || rest.front() == '/';
}

// The object that a label "<prefix><what>" = value names. `what` is the part after the prefix.
std::optional<Target> target_of(std::string_view what, const std::string& value,
                                bool may_be_container) {
  if (value.empty()) return std::nullopt;
  constexpr std::string_view kSnapshotPrefix = "snapshot.";
  if (what.starts_with(kSnapshotPrefix)) {
    std::string_view snapshotter = what.substr(kSnapshotPrefix.size());
    snapshotter = snapshotter.substr(0, snapshotter.find('/'));
    if (snapshotter.empty()) return std::nullopt;
    return Target{Kind::kSnapshot, snapshot_node(snapshotter, value)};
  }
  struct Prefix {
    std::string_view name;
    Kind kind;
  };
  for (const Prefix& prefix : {Prefix{"content", Kind::kContent}, Prefix{"image", Kind::kImage},
                               Prefix{"container", Kind::kContainer}}) {
    if (prefix.kind == Kind::kContainer && !may_be_container) continue;
    if (what.starts_with(prefix.name) && is_named(what.substr(prefix.name.size()))) {
      return Target{prefix.kind, value};
    }
  }
  return std::nullopt;
}

std::optional<int64_t> expiry(const Labels& labels) {
  const auto found = labels.find(std::string(kExpire));
  if (found == labels.end()) return std::nullopt;
  return parse_rfc3339(found->second);
}

}  // namespace

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::kContent:
      return "content";
    case Kind::kSnapshot:
      return "snapshot";
    case Kind::kImage:
      return "image";
    case Kind::kContainer:
      return "container";
    case Kind::kIngest:
      return "ingest";
    case Kind::kSandbox:
      return "sandbox";
  }
  return "unknown";
}

std::string snapshot_node(std::string_view snapshotter, std::string_view key) {
  std::string node(snapshotter);
  node += '/';
  node += key;
  return node;
}

int64_t root_until(const Labels& labels) {
  for (const auto& [key, value] : labels) {
    if (std::string_view(key).starts_with(kRoot)) return kForever;
  }
  return expiry(labels).value_or(0);
}

int64_t lifetime(const Labels& labels) { return expiry(labels).value_or(kForever); }

bool is_flat(const Labels& labels) { return labels.contains(std::string(kFlat)); }

Status write_label_references(Connection& db, std::string_view ns, Kind kind, std::string_view key,
                              const Labels& labels) {
  BERTH_RETURN_IF_ERROR(
      run(db, "DELETE FROM refs WHERE ns = ?1 AND kind = ?2 AND key = ?3 AND by_label = 1", ns,
          kind_name(kind), key));
  BERTH_RETURN_IF_ERROR(run(db, "DELETE FROM back_refs WHERE ns = ?1 AND kind = ?2 AND key = ?3",
                            ns, kind_name(kind), key));
  for (const auto& [label, value] : labels) {
    const std::string_view name(label);
    if (name.starts_with(kRef)) {
      const auto target = target_of(name.substr(kRef.size()), value, false);
      if (!target) continue;
      BERTH_RETURN_IF_ERROR(run(db, "INSERT OR IGNORE INTO refs VALUES (?1, ?2, ?3, ?4, ?5, 1)", ns,
                                kind_name(kind), key, kind_name(target->kind), target->key));
    } else if (name.starts_with(kBackRef)) {
      const auto from = target_of(name.substr(kBackRef.size()), value, true);
      if (!from) continue;
      BERTH_RETURN_IF_ERROR(run(db, "INSERT OR IGNORE INTO back_refs VALUES (?1, ?2, ?3, ?4, ?5)",
                                ns, kind_name(from->kind), from->key, kind_name(kind), key));
    }
  }
  return {};
}

Status add_reference(Connection& db, std::string_view ns, Kind kind, std::string_view key,
                     Kind to_kind, std::string_view to_key) {
  return run(db, "INSERT OR IGNORE INTO refs VALUES (?1, ?2, ?3, ?4, ?5, 0)", ns, kind_name(kind),
             key, kind_name(to_kind), to_key);
}

Status drop_references(Connection& db, std::string_view ns, Kind kind, std::string_view key) {
  BERTH_RETURN_IF_ERROR(run(db, "DELETE FROM refs WHERE ns = ?1 AND kind = ?2 AND key = ?3", ns,
                            kind_name(kind), key));
  return run(db, "DELETE FROM back_refs WHERE ns = ?1 AND kind = ?2 AND key = ?3", ns,
             kind_name(kind), key);
}

}  // namespace berth::metadata
