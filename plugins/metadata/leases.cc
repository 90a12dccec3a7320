#include "leases.h"

#include <berth/digest.h>
#include <sys/random.h>

#include "record.h"

namespace berth::metadata {

using namespace containerd::services::leases::v1;

namespace {

Status invalid(const std::string& why) { return invalid_argument(why + ": invalid argument"); }

Status missing(std::string_view id) { return not_found("lease " + quoted(id) + ": not found"); }

Status require(Connection& db, std::string_view ns, std::string_view id) {
  BERTH_ASSIGN_OR_RETURN(const bool found,
                         exists(db, "SELECT 1 FROM leases WHERE ns = ?1 AND id = ?2", ns, id));
  return found ? Status() : missing(id);
}

FieldLookup fields_of(const Lease& lease) {
  return [&lease](std::span<const std::string> path) -> std::optional<std::string> {
    if (path.front() == "id") return text_field(lease.id());
    if (path.front() == "labels") return label_field(lease.labels(), path.subspan(1));
    return std::nullopt;
  };
}

// A resource as clients name it -> as the tables do.
struct Node {
  Kind kind;
  std::string key;
};

Result<Node> node_of(const Resource& resource) {
  const std::string& type = resource.type();
  const size_t slash = type.find('/');
  const std::string_view name = std::string_view(type).substr(0, slash);
  const bool one_part = slash == std::string::npos;
  if (name == "content" || name == "ingests" || name == "images") {
    if (!one_part) return invalid("invalid resource type " + type);
    if (name == "ingests") return Node{Kind::kIngest, resource.id()};
    if (name == "images") return Node{Kind::kImage, resource.id()};
    const auto digest = Digest::parse(resource.id());
    if (!digest.ok()) {
      return invalid("invalid content resource id " + resource.id() + ": " +
                     digest.status().message());
    }
    return Node{Kind::kContent, resource.id()};
  }
  if (name == "snapshots") {
    if (one_part || slash + 1 == type.size() || type.find('/', slash + 1) != std::string::npos) {
      return invalid("invalid snapshot resource type " + type);
    }
    return Node{Kind::kSnapshot, snapshot_node(type.substr(slash + 1), resource.id())};
  }
  return unimplemented("resource type " + type + " not supported yet: not implemented");
}

// And back.
void put_resource(std::string_view kind, std::string_view key, Resource* out) {
  if (kind == kind_name(Kind::kSnapshot)) {
    const size_t slash = key.find('/');
    out->set_type("snapshots/" + std::string(key.substr(0, slash)));
    out->set_id(std::string(key.substr(slash + 1)));
    return;
  }
  out->set_type(kind == kind_name(Kind::kContent)  ? "content"
                : kind == kind_name(Kind::kIngest) ? "ingests"
                                                   : "images");
  out->set_id(std::string(key));
}

std::string random_id() {
  uint32_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != sizeof random) random = 0;  // the time differs
  char hex[9];
  std::snprintf(hex, sizeof hex, "%08x", random);
  return std::to_string(wall_now()) + "-" + hex;
}

}  // namespace

Status Leases::Create(Context& context, const CreateRequest& request, CreateResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  Lease* lease = response->mutable_lease();
  lease->set_id(request.id().empty() ? random_id() : request.id());
  *lease->mutable_labels() = request.labels();
  drop_empty(lease->mutable_labels());
  BERTH_RETURN_IF_ERROR(validate_labels(lease->labels(), "lease.Labels"));
  const int64_t now = wall_now();
  put_time(now, lease->mutable_created_at());
  return store_.write([&](Tx& tx) -> Status {
    BERTH_RETURN_IF_ERROR(ensure_namespace(tx, ns));
    BERTH_RETURN_IF_ERROR(run(tx, "INSERT OR IGNORE INTO leases VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                              ns, lease->id(), encode_labels(lease->labels()), now,
                              is_flat(lease->labels()) ? 1 : 0, lifetime(lease->labels())));
    if (tx.changes() == 0) {
      return already_exists("lease " + quoted(lease->id()) + ": already exists");
    }
    return {};
  });
}

Status Leases::Delete(Context& context, const DeleteRequest& request, google::protobuf::Empty*) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  return store_.write([&](Tx& tx) -> Status {
    BERTH_RETURN_IF_ERROR(
        run(tx, "DELETE FROM leases WHERE ns = ?1 AND id = ?2", ns, request.id()));
    if (tx.changes() == 0) return missing(request.id());
    tx.mark_dirty();
    tx.mark_removal();
    return run(tx, "DELETE FROM lease_resources WHERE ns = ?1 AND lease = ?2", ns, request.id());
  });
}

Status Leases::List(Context& context, const ListRequest& request, ListResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  BERTH_ASSIGN_OR_RETURN(const FilterSet filters, FilterSet::parse(request.filters()));
  return store_.read([&](Connection& db) -> Status {
    Query query(db, "SELECT id, labels, created FROM leases WHERE ns = ?1 ORDER BY id", ns);
    while (true) {
      BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
      if (!found) return {};
      Lease lease;
      lease.set_id(query.string(0));
      BERTH_RETURN_IF_ERROR(
          decode_labels(query.text(1), lease.mutable_labels()).with_context("lease " + lease.id()));
      put_time(query.integer(2), lease.mutable_created_at());
      if (filters.matches(fields_of(lease))) *response->add_leases() = std::move(lease);
    }
  });
}

Status Leases::AddResource(Context& context, const AddResourceRequest& request,
                           google::protobuf::Empty*) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  BERTH_ASSIGN_OR_RETURN(const Node node, node_of(request.resource()));
  return store_.write([&](Tx& tx) -> Status {
    BERTH_RETURN_IF_ERROR(require(tx, ns, request.id()));
    return run(tx, "INSERT OR IGNORE INTO lease_resources VALUES (?1, ?2, ?3, ?4)", ns,
               request.id(), kind_name(node.kind), node.key);
  });
}

Status Leases::DeleteResource(Context& context, const DeleteResourceRequest& request,
                              google::protobuf::Empty*) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  BERTH_ASSIGN_OR_RETURN(const Node node, node_of(request.resource()));
  return store_.write([&](Tx& tx) -> Status {
    BERTH_RETURN_IF_ERROR(require(tx, ns, request.id()));
    tx.mark_dirty();
    tx.mark_removal();
    return run(tx,
               "DELETE FROM lease_resources "
               "WHERE ns = ?1 AND lease = ?2 AND kind = ?3 AND key = ?4",
               ns, request.id(), kind_name(node.kind), node.key);
  });
}

Status Leases::ListResources(Context& context, const ListResourcesRequest& request,
                             ListResourcesResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  return store_.read([&](Connection& db) -> Status {
    BERTH_RETURN_IF_ERROR(require(db, ns, request.id()));
    Query query(db,
                "SELECT kind, key FROM lease_resources WHERE ns = ?1 AND lease = ?2 "
                "ORDER BY kind, key",
                ns, request.id());
    while (true) {
      BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
      if (!found) return {};
      put_resource(query.text(0), query.text(1), response->add_resources());
    }
  });
}

}  // namespace berth::metadata
