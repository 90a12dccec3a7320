#include "sandboxes.h"

#include "message_column.h"
#include "record.h"

namespace berth::metadata {

using namespace containerd::services::sandbox::v1;
using containerd::types::Sandbox;

namespace {

constexpr std::string_view kSelect =
    "SELECT id, labels, runtime, options, spec, extensions, sandboxer, created, updated "
    "FROM sandboxes WHERE ns = ?1 AND id = ?2";
constexpr std::string_view kSelectAll =
    "SELECT id, labels, runtime, options, spec, extensions, sandboxer, created, updated "
    "FROM sandboxes WHERE ns = ?1 ORDER BY id";

Status invalid(const std::string& why) { return invalid_argument(why + ": invalid argument"); }

Status missing(std::string_view id) { return not_found("sandbox " + quoted(id) + ": not found"); }

Status read_row(const Query& row, Sandbox* out) {
  out->set_sandbox_id(row.string(0));
  BERTH_RETURN_IF_ERROR(decode_labels(row.text(1), out->mutable_labels()));
  out->mutable_runtime()->set_name(row.string(2));
  if (!row.text(3).empty()) {
    BERTH_RETURN_IF_ERROR(decode_message(row.text(3), out->mutable_runtime()->mutable_options()));
  }
  if (!row.text(4).empty()) BERTH_RETURN_IF_ERROR(decode_message(row.text(4), out->mutable_spec()));
  if (!row.text(5).empty()) {
    Sandbox extensions;  // a sandbox with nothing but extensions
    BERTH_RETURN_IF_ERROR(decode_message(row.text(5), &extensions));
    out->mutable_extensions()->swap(*extensions.mutable_extensions());
  }
  out->set_sandboxer(row.string(6));
  put_time(row.integer(7), out->mutable_created_at());
  put_time(row.integer(8), out->mutable_updated_at());
  return {};
}

Result<bool> find(Connection& db, std::string_view ns, std::string_view id, Sandbox* out) {
  Query query(db, kSelect, ns, id);
  BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
  if (!found) return false;
  BERTH_RETURN_IF_ERROR(read_row(query, out).with_context("sandbox " + quoted(id)));
  return true;
}

Status validate(const Sandbox& sandbox) {
  BERTH_RETURN_IF_ERROR(validate_identifier(sandbox.sandbox_id(), "sandbox ID"));
  return validate_labels(sandbox.labels(), "sandbox.Labels");
}

// Inserts, or replaces what an update may change.
Status write_row(Connection& db, std::string_view ns, const Sandbox& sandbox) {
  Sandbox extensions;
  *extensions.mutable_extensions() = sandbox.extensions();
  const std::string encoded_extensions = extensions.SerializeAsString();
  const std::string options =
      encode_any(sandbox.runtime().has_options(), sandbox.runtime().options());
  const std::string spec = encode_any(sandbox.has_spec(), sandbox.spec());
  BERTH_RETURN_IF_ERROR(
      run(db, "INSERT OR REPLACE INTO sandboxes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
          ns, sandbox.sandbox_id(), encode_labels(sandbox.labels()), sandbox.runtime().name(),
          Bytes{options}, Bytes{spec}, Bytes{encoded_extensions}, sandbox.sandboxer(),
          get_time(sandbox.created_at()), get_time(sandbox.updated_at())));
  return write_label_references(db, ns, Kind::kSandbox, sandbox.sandbox_id(), sandbox.labels());
}

FieldLookup fields_of(const Sandbox& sandbox) {
  return [&sandbox](std::span<const std::string> path) -> std::optional<std::string> {
    if (path.front() == "id") return sandbox.sandbox_id();
    if (path.front() == "labels") return label_field(sandbox.labels(), path.subspan(1));
    return std::nullopt;
  };
}

Status apply_fields(const StoreUpdateRequest& request, Sandbox* updated) {
  const Sandbox& wanted = request.sandbox();
  std::vector<std::string> paths(request.fields().begin(), request.fields().end());
  if (paths.empty()) {
    paths = {"labels", "extensions", "spec", "runtime"};
    if (updated->runtime().name() != wanted.runtime().name()) {
      return invalid("sandbox.Runtime.Name field is immutable");
    }
  }
  for (const std::string& path : paths) {
    if (const auto label = mask_key(path, "labels")) {
      copy_label(wanted.labels(), *label, updated->mutable_labels());
    } else if (const auto extension = mask_key(path, "extensions")) {
      const auto found = wanted.extensions().find(std::string(*extension));
      if (found == wanted.extensions().end()) {
        updated->mutable_extensions()->erase(std::string(*extension));
      } else {
        (*updated->mutable_extensions())[found->first] = found->second;
      }
    } else if (path == "labels") {
      *updated->mutable_labels() = wanted.labels();
    } else if (path == "extensions") {
      *updated->mutable_extensions() = wanted.extensions();
    } else if (path == "runtime") {
      *updated->mutable_runtime() = wanted.runtime();
    } else if (path == "spec") {
      updated->clear_spec();
      if (wanted.has_spec()) *updated->mutable_spec() = wanted.spec();
    } else {
      return invalid("cannot update " + quoted(path) + " field on sandbox " +
                     quoted(wanted.sandbox_id()));
    }
  }
  return {};
}

}  // namespace

Status Sandboxes::Create(Context& context, const StoreCreateRequest& request,
                         StoreCreateResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  Sandbox* sandbox = response->mutable_sandbox();
  *sandbox = request.sandbox();
  BERTH_RETURN_IF_ERROR(validate(*sandbox).with_context("failed to validate sandbox"));
  drop_empty(sandbox->mutable_labels());
  const int64_t now = wall_now();
  put_time(now, sandbox->mutable_created_at());
  put_time(now, sandbox->mutable_updated_at());
  return store_.write([&](Tx& tx) -> Status {
    BERTH_RETURN_IF_ERROR(ensure_namespace(tx, ns));
    BERTH_ASSIGN_OR_RETURN(
        const bool found,
        exists(tx, "SELECT 1 FROM sandboxes WHERE ns = ?1 AND id = ?2", ns, sandbox->sandbox_id()));
    if (found) {
      return already_exists("sandbox " + quoted(sandbox->sandbox_id()) + ": already exists");
    }
    return write_row(tx, ns, *sandbox);
  });
}

Status Sandboxes::Update(Context& context, const StoreUpdateRequest& request,
                         StoreUpdateResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  Sandbox updated;
  BERTH_RETURN_IF_ERROR(store_.write([&](Tx& tx) -> Status {
    updated.Clear();
    const std::string& id = request.sandbox().sandbox_id();
    BERTH_ASSIGN_OR_RETURN(const bool found, find(tx, ns, id, &updated));
    if (!found) return missing(id);
    BERTH_RETURN_IF_ERROR(apply_fields(request, &updated));
    BERTH_RETURN_IF_ERROR(validate(updated));
    drop_empty(updated.mutable_labels());
    put_time(wall_now(), updated.mutable_updated_at());
    tx.mark_dirty();
    return write_row(tx, ns, updated);
  }));
  *response->mutable_sandbox() = std::move(updated);
  return {};
}

Status Sandboxes::Delete(Context& context, const StoreDeleteRequest& request,
                         StoreDeleteResponse*) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  return store_.write([&](Tx& tx) -> Status {
    BERTH_RETURN_IF_ERROR(
        run(tx, "DELETE FROM sandboxes WHERE ns = ?1 AND id = ?2", ns, request.sandbox_id()));
    if (tx.changes() == 0) return missing(request.sandbox_id());
    tx.mark_dirty();
    tx.mark_removal();
    return drop_references(tx, ns, Kind::kSandbox, request.sandbox_id());
  });
}

Status Sandboxes::List(Context& context, const StoreListRequest& request,
                       StoreListResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  BERTH_ASSIGN_OR_RETURN(const FilterSet filters, FilterSet::parse(request.filters()));
  return store_.read([&](Connection& db) -> Status {
    Query query(db, kSelectAll, ns);
    while (true) {
      BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
      if (!found) return {};
      Sandbox sandbox;
      BERTH_RETURN_IF_ERROR(read_row(query, &sandbox).with_context("sandbox " + query.string(0)));
      if (filters.matches(fields_of(sandbox))) *response->add_list() = std::move(sandbox);
    }
  });
}

Status Sandboxes::Get(Context& context, const StoreGetRequest& request,
                      StoreGetResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  return store_.read([&](Connection& db) -> Status {
    BERTH_ASSIGN_OR_RETURN(const bool found,
                           find(db, ns, request.sandbox_id(), response->mutable_sandbox()));
    return found ? Status() : missing(request.sandbox_id());
  });
}

}  // namespace berth::metadata
