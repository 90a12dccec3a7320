#include "namespaces.h"

#include "record.h"

namespace berth::metadata {

using namespace containerd::services::namespaces::v1;

namespace {

Result<bool> read_labels(Connection& db, std::string_view ns, Labels* labels) {
  Query query(db, "SELECT labels FROM namespaces WHERE name = ?1", ns);
  BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
  if (found) BERTH_RETURN_IF_ERROR(decode_labels(query.text(0), labels));
  return found;
}

// What is in a namespace, in words; the kinds, not the objects, of which there may be many.
Result<std::string> contents(Connection& db, std::string_view ns) {
  std::string out;
  const auto add = [&](const std::string& what) { out += (out.empty() ? "" : ", ") + what; };
  struct Kind {
    std::string_view sql;
    const char* name;
  };
  for (const Kind& kind : {Kind{"SELECT 1 FROM images WHERE ns = ?1 LIMIT 1", "images"},
                           Kind{"SELECT 1 FROM content WHERE ns = ?1 LIMIT 1", "blobs"},
                           Kind{"SELECT 1 FROM containers WHERE ns = ?1 LIMIT 1", "containers"},
                           Kind{"SELECT 1 FROM sandboxes WHERE ns = ?1 LIMIT 1", "sandboxes"}}) {
    BERTH_ASSIGN_OR_RETURN(const bool found, exists(db, kind.sql, ns));
    if (found) add(kind.name);
  }
  Query snapshotters(
      db, "SELECT DISTINCT snapshotter FROM snapshots WHERE ns = ?1 ORDER BY snapshotter", ns);
  while (true) {
    BERTH_ASSIGN_OR_RETURN(const bool found, snapshotters.next());
    if (!found) return out;
    add("snapshots on " + quoted(snapshotters.text(0)) + " snapshotter");
  }
}

}  // namespace

Status Namespaces::Get(Context&, const GetNamespaceRequest& request,
                       GetNamespaceResponse* response) {
  Namespace* out = response->mutable_namespace_();
  out->set_name(request.name());
  return store_.read([&](Connection& db) {
    return read_labels(db, request.name(), out->mutable_labels()).status();
  });
}

Status Namespaces::List(Context&, const ListNamespacesRequest&, ListNamespacesResponse* response) {
  return store_.read([&](Connection& db) -> Status {
    Query query(db, "SELECT name, labels FROM namespaces ORDER BY name");
    while (true) {
      BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
      if (!found) return {};
      Namespace* out = response->add_namespaces();
      out->set_name(query.string(0));
      BERTH_RETURN_IF_ERROR(decode_labels(query.text(1), out->mutable_labels()));
    }
  });
}

Status Namespaces::Create(Context&, const CreateNamespaceRequest& request,
                          CreateNamespaceResponse* response) {
  const Namespace& wanted = request.namespace_();
  BERTH_RETURN_IF_ERROR(validate_identifier(wanted.name()));
  BERTH_RETURN_IF_ERROR(validate_labels(wanted.labels(), "namespace.Labels"));
  BERTH_RETURN_IF_ERROR(store_.write([&](Tx& tx) -> Status {
    BERTH_RETURN_IF_ERROR(run(tx, "INSERT OR IGNORE INTO namespaces VALUES (?1, ?2)", wanted.name(),
                              encode_labels(wanted.labels())));
    if (tx.changes() == 0) {
      return already_exists("namespace " + quoted(wanted.name()) + ": already exists");
    }
    return {};
  }));
  *response->mutable_namespace_() = wanted;
  drop_empty(response->mutable_namespace_()->mutable_labels());
  return {};
}

Status Namespaces::Update(Context&, const UpdateNamespaceRequest& request,
                          UpdateNamespaceResponse* response) {
  const Namespace& wanted = request.namespace_();
  BERTH_RETURN_IF_ERROR(validate_identifier(wanted.name()));
  Labels labels;
  BERTH_RETURN_IF_ERROR(store_.write([&](Tx& tx) -> Status {
    labels.clear();
    if (request.update_mask().paths().empty()) {
      labels = wanted.labels();
    } else {
      BERTH_RETURN_IF_ERROR(read_labels(tx, wanted.name(), &labels).status());
      for (const std::string& path : request.update_mask().paths()) {
        const auto key = mask_key(path, "labels");
        if (!key && path != "labels") {
          return invalid_argument("cannot update " + quoted(path) + " field of namespace " +
                                  quoted(wanted.name()));
        }
        if (key) {
          copy_label(wanted.labels(), *key, &labels);
        } else {
          labels = wanted.labels();
        }
      }
    }
    BERTH_RETURN_IF_ERROR(validate_labels(labels, "namespace.Labels"));
    return run(tx,
               "INSERT INTO namespaces VALUES (?1, ?2) "
               "ON CONFLICT (name) DO UPDATE SET labels = excluded.labels",
               wanted.name(), encode_labels(labels));
  }));
  drop_empty(&labels);
  response->mutable_namespace_()->set_name(wanted.name());
  *response->mutable_namespace_()->mutable_labels() = std::move(labels);
  return {};
}

Status Namespaces::Delete(Context&, const DeleteNamespaceRequest& request,
                          google::protobuf::Empty*) {
  const std::string& name = request.name();
  return store_.write([&](Tx& tx) -> Status {
    BERTH_ASSIGN_OR_RETURN(const std::string inside, contents(tx, name));
    if (!inside.empty()) {
      return failed_precondition("namespace " + quoted(name) + " must be empty, but it still has " +
                                 inside + ": failed precondition");
    }
    BERTH_RETURN_IF_ERROR(run(tx, "DELETE FROM namespaces WHERE name = ?1", name));
    if (tx.changes() == 0) return not_found("namespace " + quoted(name) + ": not found");
    // What does not keep a namespace alive goes with it.
    BERTH_RETURN_IF_ERROR(run(tx, "DELETE FROM leases WHERE ns = ?1", name));
    BERTH_RETURN_IF_ERROR(run(tx, "DELETE FROM lease_resources WHERE ns = ?1", name));
    BERTH_RETURN_IF_ERROR(run(tx,
                              "INSERT OR IGNORE INTO discarded "
                              "SELECT 'ingest', '', backend FROM ingests WHERE ns = ?1",
                              name));
    BERTH_RETURN_IF_ERROR(run(tx, "DELETE FROM ingests WHERE ns = ?1", name));
    BERTH_RETURN_IF_ERROR(run(tx, "DELETE FROM refs WHERE ns = ?1", name));
    BERTH_RETURN_IF_ERROR(run(tx, "DELETE FROM back_refs WHERE ns = ?1", name));
    tx.mark_dirty();
    tx.mark_removal();
    return {};
  });
}

}  // namespace berth::metadata
