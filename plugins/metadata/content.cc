#include "content.h"

#include <berth/digest.h>

#include "containerd/events/content.pb.h"
#include "record.h"

namespace berth::metadata {

using namespace containerd::services::content::v1;

namespace {

using BlobInfo = containerd::services::content::v1::Info;

constexpr int kInfosPerMessage = 100;  // as containerd sends
constexpr size_t kPortion = 500;       // rows read in one transaction of a walk

berth::Status missing(std::string_view digest) {
  return not_found("content digest " + std::string(digest) + ": not found");
}

berth::Status read_row(const Query& row, BlobInfo* out) {
  out->set_digest(row.string(0));
  out->set_size(row.integer(1));
  BERTH_RETURN_IF_ERROR(decode_labels(row.text(2), out->mutable_labels()));
  put_time(row.integer(3), out->mutable_created_at());
  put_time(row.integer(4), out->mutable_updated_at());
  return {};
}

Result<bool> find(Connection& db, std::string_view ns, std::string_view digest, BlobInfo* out) {
  Query query(db,
              "SELECT digest, size, labels, created, updated FROM content "
              "WHERE ns = ?1 AND digest = ?2",
              ns, digest);
  BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
  if (!found) return false;
  BERTH_RETURN_IF_ERROR(read_row(query, out).with_context("content " + std::string(digest)));
  return true;
}

FieldLookup fields_of(const BlobInfo& info) {
  return [&info](std::span<const std::string> path) -> std::optional<std::string> {
    const std::string& field = path.front();
    if (field == "digest") return info.digest();
    if (field == "size") return std::to_string(info.size());
    if (field == "labels") return label_field(info.labels(), path.subspan(1));
    return std::nullopt;
  };
}

FieldLookup fields_of(const containerd::services::content::v1::Status& status) {
  return [&status](std::span<const std::string> path) -> std::optional<std::string> {
    if (path.front() == "ref") return status.ref();
    return std::nullopt;
  };
}

berth::Status apply_mask(const BlobInfo& wanted, const google::protobuf::FieldMask& mask,
                         BlobInfo* updated) {
  if (mask.paths().empty()) *updated->mutable_labels() = wanted.labels();
  for (const std::string& path : mask.paths()) {
    if (const auto key = mask_key(path, "labels")) {
      copy_label(wanted.labels(), *key, updated->mutable_labels());
    } else if (path == "labels") {
      *updated->mutable_labels() = wanted.labels();
    } else {
      return invalid_argument("cannot update " + quoted(path) + " field on content info " +
                              quoted(wanted.digest()) + ": invalid argument");
    }
  }
  return validate_labels(updated->labels(), "info.Labels");
}

}  // namespace

berth::Status Content::Info(Context& context, const InfoRequest& request, InfoResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  BERTH_RETURN_IF_ERROR(Digest::parse(request.digest()).status());
  return store_.read([&](Connection& db) -> berth::Status {
    BERTH_ASSIGN_OR_RETURN(const bool found,
                           find(db, ns, request.digest(), response->mutable_info()));
    return found ? berth::Status() : missing(request.digest());
  });
}

berth::Status Content::Update(Context& context, const UpdateRequest& request,
                              UpdateResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  const std::string& digest = request.info().digest();
  BERTH_RETURN_IF_ERROR(Digest::parse(digest).status());
  BlobInfo updated;
  BERTH_RETURN_IF_ERROR(store_.write([&](Tx& tx) -> berth::Status {
    updated.Clear();
    BERTH_ASSIGN_OR_RETURN(const bool found, find(tx, ns, digest, &updated));
    if (!found) return missing(digest);
    BERTH_RETURN_IF_ERROR(apply_mask(request.info(), request.update_mask(), &updated));
    drop_empty(updated.mutable_labels());
    const int64_t now = wall_now();
    put_time(now, updated.mutable_updated_at());
    BERTH_RETURN_IF_ERROR(run(tx,
                              "UPDATE content SET labels = ?3, updated = ?4, root_until = ?5 "
                              "WHERE ns = ?1 AND digest = ?2",
                              ns, digest, encode_labels(updated.labels()), now,
                              root_until(updated.labels())));
    tx.mark_dirty();  // what its labels named before may be free
    return write_label_references(tx, ns, Kind::kContent, digest, updated.labels());
  }));
  *response->mutable_info() = std::move(updated);
  return {};
}

berth::Status Content::walk(const Context& context, const ListContentRequest& request,
                            const std::function<berth::Status(BlobInfo&&)>& visit) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  BERTH_ASSIGN_OR_RETURN(const FilterSet filters, FilterSet::parse(request.filters()));
  std::string last;
  while (true) {
    std::vector<BlobInfo> portion;
    size_t rows = 0;
    BERTH_RETURN_IF_ERROR(store_.read([&](Connection& db) -> berth::Status {
      Query query(db,
                  "SELECT digest, size, labels, created, updated FROM content "
                  "WHERE ns = ?1 AND digest > ?2 ORDER BY digest LIMIT ?3",
                  ns, last, kPortion);
      while (true) {
        BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
        if (!found) return {};
        ++rows;
        BlobInfo info;
        BERTH_RETURN_IF_ERROR(read_row(query, &info).with_context("content " + query.string(0)));
        last = info.digest();
        if (filters.matches(fields_of(info))) portion.push_back(std::move(info));
      }
    }));
    for (BlobInfo& info : portion) BERTH_RETURN_IF_ERROR(visit(std::move(info)));
    if (rows < kPortion) return {};
  }
}

berth::Status Content::List(Context& context, const ListContentRequest& request,
                            ServerWriter<ListContentResponse>& writer) {
  ListContentResponse batch;
  const auto flush = [&]() -> berth::Status {
    if (batch.info_size() > 0 && !writer.Write(batch)) {
      return cancelled("list content: the caller is gone");
    }
    batch.Clear();
    return {};
  };
  BERTH_RETURN_IF_ERROR(walk(context, request, [&](BlobInfo&& info) -> berth::Status {
    *batch.add_info() = std::move(info);
    return batch.info_size() < kInfosPerMessage ? berth::Status() : flush();
  }));
  return flush();
}

berth::Status Content::Delete(Context& context, const DeleteContentRequest& request,
                              google::protobuf::Empty*) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  const std::string& digest = request.digest();
  BERTH_RETURN_IF_ERROR(Digest::parse(digest).status());
  return store_.write([&](Tx& tx) -> berth::Status {
    BERTH_RETURN_IF_ERROR(run(tx, "DELETE FROM content WHERE ns = ?1 AND digest = ?2", ns, digest));
    if (tx.changes() == 0) return missing(digest);
    tx.mark_dirty();
    tx.mark_removal();
    BERTH_RETURN_IF_ERROR(remove_from_lease(tx, context, ns, Kind::kContent, digest));
    return drop_references(tx, ns, Kind::kContent, digest);
  });
}

berth::Status Content::check_access(const Context& context, const std::string& digest) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  BERTH_RETURN_IF_ERROR(Digest::parse(digest).status());
  return store_.read([&](Connection& db) -> berth::Status {
    BERTH_ASSIGN_OR_RETURN(
        const bool found,
        exists(db, "SELECT 1 FROM content WHERE ns = ?1 AND digest = ?2", ns, digest));
    return found ? berth::Status() : missing(digest);
  });
}

void Content::ReadCall(ServerCall call) {
  ReadContentRequest request;
  berth::Status status = call.parse_request(&request);
  if (status.ok()) status = check_access(call.context(), request.digest());
  if (!status.ok()) return call.finish(status);
  reader_.forward(std::move(call), ContentClient::kRead);
}

berth::Status Content::Status(Context& context, const StatusRequest& request,
                              StatusResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  std::string backend_ref;
  BERTH_RETURN_IF_ERROR(store_.read([&](Connection& db) -> berth::Status {
    Query query(db, "SELECT backend FROM ingests WHERE ns = ?1 AND ref = ?2", ns, request.ref());
    BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
    if (!found) return not_found("reference " + request.ref() + ": not found");
    backend_ref = query.string(0);
    return {};
  }));
  BERTH_RETURN_IF_ERROR(backend_.status(context, backend_ref, response->mutable_status()));
  response->mutable_status()->set_ref(request.ref());
  return {};
}

berth::Status Content::ListStatuses(Context& context, const ListStatusesRequest& request,
                                    ListStatusesResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  BERTH_ASSIGN_OR_RETURN(const FilterSet filters, FilterSet::parse(request.filters()));
  std::map<std::string, std::string> refs;  // by their names in the backend
  BERTH_RETURN_IF_ERROR(store_.read([&](Connection& db) -> berth::Status {
    Query query(db, "SELECT backend, ref FROM ingests WHERE ns = ?1", ns);
    while (true) {
      BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
      if (!found) return {};
      refs.emplace(query.string(0), query.string(1));
    }
  }));
  if (refs.empty()) return {};
  ListStatusesResponse all;
  BERTH_RETURN_IF_ERROR(backend_.statuses(context, &all));
  for (auto& status : *all.mutable_statuses()) {
    const auto found = refs.find(status.ref());
    if (found == refs.end()) continue;
    status.set_ref(found->second);
    if (filters.matches(fields_of(status))) *response->add_statuses() = std::move(status);
  }
  return {};
}

berth::Status Content::Write(Context& context,
                             ServerStream<WriteContentRequest, WriteContentResponse>& stream) {
  BERTH_ASSIGN_OR_RETURN(std::string ns, caller_namespace(context));
  WriteSession session(store_, backend_, in_flight_, policy_, context, std::move(ns));
  while (!session.committed()) {
    Message message;
    const int32_t outcome = stream.call().recv(&message);
    if (outcome == BERTH_END) return {};  // what was written stays for the next writer
    if (outcome != BERTH_OK) return cancelled("write content: the caller is gone");
    BERTH_ASSIGN_OR_RETURN(const WriteRequest request, WriteRequest::parse(message.bytes()));
    WriteContentResponse response;
    BERTH_RETURN_IF_ERROR(session.handle(request, &response));
    if (session.committed()) {
      containerd::events::ContentCreate event;
      event.set_digest(session.committed()->digest);
      event.set_size(session.committed()->size);
      publish_(context, "/content/create", event);
    }
    if (!stream.Write(response)) return cancelled("write content: the caller is gone");
  }
  return {};
}

berth::Status Content::Abort(Context& context, const AbortRequest& request,
                             google::protobuf::Empty*) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  return abort_ingest(store_, backend_, context, ns, request.ref());
}

}  // namespace berth::metadata
