#include "containers.h"

#include "message_column.h"
#include "record.h"

namespace berth::metadata {

using namespace containerd::services::containers::v1;

namespace {

constexpr size_t kPortion = 128;  // containers read in one transaction of a walk

constexpr std::string_view kSelect =
    "SELECT id, labels, image, runtime, options, spec, snapshotter, snapshot_key, extensions, "
    "sandbox, created, updated FROM containers WHERE ns = ?1 AND id = ?2";
constexpr std::string_view kSelectAfter =
    "SELECT id, labels, image, runtime, options, spec, snapshotter, snapshot_key, extensions, "
    "sandbox, created, updated FROM containers WHERE ns = ?1 AND id > ?2 ORDER BY id LIMIT ?3";

// All but what may be large: specification and extensions.
Status read_small_fields(const Query& row, Container* out) {
  out->set_id(row.string(0));
  BERTH_RETURN_IF_ERROR(decode_labels(row.text(1), out->mutable_labels()));
  out->set_image(row.string(2));
  out->mutable_runtime()->set_name(row.string(3));
  if (!row.text(4).empty()) {
    BERTH_RETURN_IF_ERROR(decode_message(row.text(4), out->mutable_runtime()->mutable_options()));
  }
  out->set_snapshotter(row.string(6));
  out->set_snapshot_key(row.string(7));
  out->set_sandbox(row.string(9));
  put_time(row.integer(10), out->mutable_created_at());
  put_time(row.integer(11), out->mutable_updated_at());
  return {};
}

Status read_row(const Query& row, Container* out) {
  BERTH_RETURN_IF_ERROR(read_small_fields(row, out));
  if (!row.text(5).empty()) BERTH_RETURN_IF_ERROR(decode_message(row.text(5), out->mutable_spec()));
  if (!row.text(8).empty()) {
    Container extensions;  // a container with nothing but extensions
    BERTH_RETURN_IF_ERROR(decode_message(row.text(8), &extensions));
    out->mutable_extensions()->swap(*extensions.mutable_extensions());
  }
  return {};
}

// Appends the container of a row, of which `small` has the small fields, as an element of a list.
// The large ones are in the database as they are on the wire, and fields may be in any order.
void append_row(const Query& row, const Container& small, Containers::Wire* wire) {
  const std::string_view spec = row.text(5);
  const std::string_view extensions = row.text(8);
  const size_t spec_size = spec.empty() ? 0 : message_field_size(Container::kSpecFieldNumber, spec);
  append_message_header(ListContainerMessage::kContainerFieldNumber,
                        small.ByteSizeLong() + spec_size + extensions.size(), &wire->bytes);
  small.AppendToString(&wire->bytes);
  if (!spec.empty()) append_message(Container::kSpecFieldNumber, spec, &wire->bytes);
  wire->bytes += extensions;
  wire->ends.push_back(wire->bytes.size());
}

static_assert(ListContainerMessage::kContainerFieldNumber ==
              static_cast<int>(ListContainersResponse::kContainersFieldNumber));

std::string encode_extensions(const Container& container) {
  if (container.extensions().empty()) return {};
  Container extensions;
  *extensions.mutable_extensions() = container.extensions();
  return extensions.SerializeAsString();
}

Status invalid(const std::string& why) { return invalid_argument(why + ": invalid argument"); }

Status validate(const Container& container) {
  BERTH_RETURN_IF_ERROR(validate_identifier(container.id(), "container.ID"));
  for (const auto& [key, value] : container.extensions()) {
    if (key.empty()) return invalid("container.Extension keys must not be zero-length");
  }
  BERTH_RETURN_IF_ERROR(validate_labels(container.labels(), "containers.Labels"));
  if (container.runtime().name().empty()) return invalid("container.Runtime.Name must be set");
  if (!container.has_spec()) return invalid("container.Spec must be set");
  if (!container.snapshot_key().empty() && container.snapshotter().empty()) {
    return invalid("container.Snapshotter must be set if container.SnapshotKey is set");
  }
  return {};
}

Status write_references(Connection& db, std::string_view ns, const Container& container) {
  BERTH_RETURN_IF_ERROR(
      run(db, "DELETE FROM refs WHERE ns = ?1 AND kind = 'container' AND key = ?2 AND by_label = 0",
          ns, container.id()));
  if (!container.snapshotter().empty()) {
    BERTH_RETURN_IF_ERROR(
        add_reference(db, ns, Kind::kContainer, container.id(), Kind::kSnapshot,
                      snapshot_node(container.snapshotter(), container.snapshot_key())));
  }
  return write_label_references(db, ns, Kind::kContainer, container.id(), container.labels());
}

Result<bool> find(Connection& db, std::string_view ns, std::string_view id, Container* out) {
  Query query(db, kSelect, ns, id);
  BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
  if (!found) return false;
  BERTH_RETURN_IF_ERROR(read_row(query, out).with_context("read container " + quoted(id)));
  return true;
}

FieldLookup fields_of(const Container& container) {
  return [&container](std::span<const std::string> path) -> std::optional<std::string> {
    const std::string& field = path.front();
    if (field == "id") return text_field(container.id());
    if (field == "image") return text_field(container.image());
    if (field == "labels") return label_field(container.labels(), path.subspan(1));
    if (field == "runtime" && path.size() > 1 && path[1] == "name") {
      return text_field(container.runtime().name());
    }
    return std::nullopt;
  };
}

// Takes the fields of the mask from `wanted` into `updated`.
Status apply_mask(const Container& wanted, const google::protobuf::FieldMask& mask,
                  Container* updated) {
  std::vector<std::string> paths(mask.paths().begin(), mask.paths().end());
  if (paths.empty()) {
    paths = {"labels", "spec", "extensions", "image", "snapshotkey"};
    if (updated->snapshotter() != wanted.snapshotter()) {
      return invalid("container.Snapshotter field is immutable");
    }
    if (updated->runtime().name() != wanted.runtime().name()) {
      return invalid("container.Runtime.Name field is immutable");
    }
  }
  for (const std::string& path : paths) {
    if (const auto key = mask_key(path, "labels")) {
      copy_label(wanted.labels(), *key, updated->mutable_labels());
    } else if (const auto extension = mask_key(path, "extensions")) {
      const auto found = wanted.extensions().find(std::string(*extension));
      if (found == wanted.extensions().end()) {
        updated->mutable_extensions()->erase(std::string(*extension));
      } else {
        (*updated->mutable_extensions())[found->first] = found->second;
      }
    } else if (path == "labels") {
      *updated->mutable_labels() = wanted.labels();
    } else if (path == "spec") {
      updated->clear_spec();
      if (wanted.has_spec()) *updated->mutable_spec() = wanted.spec();
    } else if (path == "extensions") {
      *updated->mutable_extensions() = wanted.extensions();
    } else if (path == "image") {
      updated->set_image(wanted.image());
    } else if (path == "snapshotkey" || path == "snapshot_key") {
      updated->set_snapshot_key(wanted.snapshot_key());
    } else {
      return invalid("cannot update " + quoted(path) + " field on " + quoted(wanted.id()));
    }
  }
  return {};
}

Status missing(std::string_view ns, std::string_view id) {
  return not_found("container " + quoted(id) + " in namespace " + quoted(ns) + ": not found");
}

}  // namespace

Status Containers::Get(Context& context, const GetContainerRequest& request,
                       GetContainerResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  return store_.read([&](Connection& db) -> Status {
    BERTH_ASSIGN_OR_RETURN(const bool found,
                           find(db, ns, request.id(), response->mutable_container()));
    return found ? Status() : missing(ns, request.id());
  });
}

Status Containers::walk(const Context& context, const ListContainersRequest& request, Wire* wire,
                        const std::function<Status()>& visit) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  BERTH_ASSIGN_OR_RETURN(const FilterSet filters, FilterSet::parse(request.filters()));
  std::string last;
  Container small;
  while (true) {
    bool more = false;
    BERTH_RETURN_IF_ERROR(store_.read([&](Connection& db) -> Status {
      Query query(db, kSelectAfter, ns, last, kPortion);
      size_t rows = 0;
      while (true) {
        BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
        if (!found) break;
        ++rows;
        last = query.string(0);
        small.Clear();
        BERTH_RETURN_IF_ERROR(
            read_small_fields(query, &small).with_context("container " + quoted(last)));
        if (filters.matches(fields_of(small))) append_row(query, small, wire);
      }
      more = rows == kPortion;
      return {};
    }));
    BERTH_RETURN_IF_ERROR(visit());
    if (!more) return {};
  }
}

void Containers::ListCall(ServerCall call) {
  Wire wire;
  wire.bytes.reserve(last_list_bytes_);
  Status status = detail::guarded([&]() -> Status {
    ListContainersRequest request;
    BERTH_RETURN_IF_ERROR(call.parse_request(&request));
    return walk(call.context(), request, &wire, [] { return Status(); });
  });
  if (!status.ok()) return call.finish(status);
  last_list_bytes_ = wire.bytes.size();
  call.finish(Message::owning(std::move(wire.bytes)));
}

void Containers::ListStreamCall(ServerCall call) {
  Wire wire;
  call.finish(detail::guarded([&]() -> Status {
    ListContainersRequest request;
    BERTH_RETURN_IF_ERROR(call.parse_request(&request));
    return walk(call.context(), request, &wire, [&]() -> Status {
      size_t begin = 0;
      for (const size_t end : wire.ends) {
        const auto one = std::string_view(wire.bytes).substr(begin, end - begin);
        if (call.send(Message::copy_of(one)) != BERTH_OK) {
          return cancelled("list containers: the caller is gone");
        }
        begin = end;
      }
      wire.bytes.clear();
      wire.ends.clear();
      return {};
    });
  }));
}

Status Containers::Create(Context& context, const CreateContainerRequest& request,
                          CreateContainerResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  const Container& wanted = request.container();
  BERTH_RETURN_IF_ERROR(validate(wanted).with_context("create container failed validation"));
  // Everything that can be done before the writer's turn is done here.
  const std::string labels = encode_labels(wanted.labels());
  const std::string options =
      encode_any(wanted.runtime().has_options(), wanted.runtime().options());
  const std::string spec = encode_any(true, wanted.spec());
  const std::string extensions = encode_extensions(wanted);
  const int64_t now = wall_now();
  BERTH_RETURN_IF_ERROR(store_.write([&](Tx& tx) -> Status {
    BERTH_RETURN_IF_ERROR(ensure_namespace(tx, ns));
    BERTH_RETURN_IF_ERROR(run(tx,
                              "INSERT OR IGNORE INTO containers VALUES "
                              "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12)",
                              ns, wanted.id(), labels, wanted.image(), wanted.runtime().name(),
                              Bytes{options}, Bytes{spec}, wanted.snapshotter(),
                              wanted.snapshot_key(), Bytes{extensions}, wanted.sandbox(), now));
    if (tx.changes() == 0) {
      return already_exists("container " + quoted(wanted.id()) + ": already exists");
    }
    return write_references(tx, ns, wanted);
  }));
  Container* created = response->mutable_container();
  *created = wanted;
  drop_empty(created->mutable_labels());
  put_time(now, created->mutable_created_at());
  put_time(now, created->mutable_updated_at());
  return {};
}

Status Containers::Update(Context& context, const UpdateContainerRequest& request,
                          UpdateContainerResponse* response) {
  const Container& wanted = request.container();
  if (wanted.id().empty()) return invalid("update container: Container.ID required");
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  Container updated;
  BERTH_RETURN_IF_ERROR(store_.write([&](Tx& tx) -> Status {
    updated.Clear();
    BERTH_ASSIGN_OR_RETURN(const bool found, find(tx, ns, wanted.id(), &updated));
    if (!found) return missing(ns, wanted.id());
    BERTH_RETURN_IF_ERROR(apply_mask(wanted, request.update_mask(), &updated));
    BERTH_RETURN_IF_ERROR(validate(updated).with_context("update failed validation"));
    drop_empty(updated.mutable_labels());
    const int64_t now = wall_now();
    put_time(now, updated.mutable_updated_at());
    const std::string spec = encode_any(updated.has_spec(), updated.spec());
    const std::string extensions = encode_extensions(updated);
    BERTH_RETURN_IF_ERROR(
        run(tx,
            "UPDATE containers SET labels = ?3, image = ?4, spec = ?5, snapshot_key = ?6, "
            "extensions = ?7, updated = ?8 WHERE ns = ?1 AND id = ?2",
            ns, wanted.id(), encode_labels(updated.labels()), updated.image(), Bytes{spec},
            updated.snapshot_key(), Bytes{extensions}, now));
    tx.mark_dirty();  // what it referred to before may be free
    return write_references(tx, ns, updated);
  }));
  *response->mutable_container() = std::move(updated);
  return {};
}

Status Containers::Delete(Context& context, const DeleteContainerRequest& request,
                          google::protobuf::Empty*) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  return store_.write([&](Tx& tx) -> Status {
    BERTH_RETURN_IF_ERROR(
        run(tx, "DELETE FROM containers WHERE ns = ?1 AND id = ?2", ns, request.id()));
    if (tx.changes() == 0) return missing(ns, request.id());
    tx.mark_dirty();
    tx.mark_removal();
    return drop_references(tx, ns, Kind::kContainer, request.id());
  });
}

}  // namespace berth::metadata
