#include "write_session.h"

#include <berth/digest.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include "record.h"

namespace berth::metadata {

using namespace containerd::services::content::v1;

namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

// An ingest outside of any lease is kept this long after it was begun or resumed.
constexpr int64_t kIngestLife = 24 * 3600 * kNanosPerSecond;
constexpr std::string_view kShareable = "containerd.io/namespace.shareable";

bool skip_value(CodedInputStream* in, uint32_t tag) {
  uint64_t number = 0;
  uint32_t length = 0;
  switch (WireFormatLite::GetTagWireType(tag)) {
    case WireFormatLite::WIRETYPE_VARINT:
      return in->ReadVarint64(&number);
    case WireFormatLite::WIRETYPE_FIXED64:
      return in->Skip(8);
    case WireFormatLite::WIRETYPE_FIXED32:
      return in->Skip(4);
    case WireFormatLite::WIRETYPE_LENGTH_DELIMITED:
      return in->ReadVarint32(&length) && length <= INT32_MAX && in->Skip(static_cast<int>(length));
    default:
      return false;  // groups do not occur in proto3
  }
}

std::string algorithm_of(const std::string& digest) { return digest.substr(0, digest.find(':')); }

}  // namespace

Result<WriteRequest> WriteRequest::parse(std::string_view bytes) {
  const Status malformed = invalid_argument("message of " + std::to_string(bytes.size()) +
                                            " bytes is not a well-formed WriteContentRequest");
  if (bytes.size() > INT32_MAX) return malformed;
  constexpr uint32_t kDataTag =
      WriteContentRequest::kDataFieldNumber << 3 | WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
  WriteRequest request;
  std::string rest;  // all fields but the data
  CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()),
                      static_cast<int>(bytes.size()));
  while (static_cast<size_t>(in.CurrentPosition()) < bytes.size()) {
    const auto begin = static_cast<size_t>(in.CurrentPosition());
    const uint32_t tag = in.ReadTag();
    if (tag == kDataTag) {
      uint32_t length = 0;
      if (!in.ReadVarint32(&length)) return malformed;
      const auto position = static_cast<size_t>(in.CurrentPosition());
      if (length > bytes.size() - position) return malformed;
      request.data = bytes.substr(position, length);
      if (!in.Skip(static_cast<int>(length))) return malformed;
    } else {
      if (tag == 0 || !skip_value(&in, tag)) return malformed;
      rest += bytes.substr(begin, static_cast<size_t>(in.CurrentPosition()) - begin);
    }
  }
  if (!request.head.ParseFromString(rest)) return malformed;
  return request;
}

Status WriteSession::handle(const WriteRequest& request, Response* response) {
  const Request& head = request.head;
  if (head.total() < 0) return invalid_argument("write content: the total is negative");
  if (!opened_) BERTH_RETURN_IF_ERROR(open(head));
  BERTH_RETURN_IF_ERROR(expect(head));
  if (shared_ && head.action() != WriteAction::STAT) {
    if (head.offset() == 0 && last_.offset() > 0) {
      BERTH_RETURN_IF_ERROR(unshare());  // the caller starts over and brings the bytes
    } else if (!request.data.empty()) {
      return failed_precondition("write to ingest " + quoted(ref_) + " at offset " +
                                 std::to_string(head.offset()) + ": all bytes of " +
                                 last_.digest() + " are there already");
    }
  }
  switch (head.action()) {
    case WriteAction::STAT:
    case WriteAction::WRITE:
      BERTH_RETURN_IF_ERROR(shared_ ? Status() : forward(head, request.data, &last_));
      fill(head, response);
      return {};
    case WriteAction::COMMIT:
      return commit(request, response);
    default:
      return invalid_argument("write to ingest " + quoted(ref_) + ": unknown action " +
                              std::to_string(head.action()));
  }
}

void WriteSession::fill(const Request& request, Response* response) const {
  *response = last_;
  response->set_action(request.action());
  if (total_ > 0) response->set_total(total_);
}

Status WriteSession::open(const Request& request) {
  if (request.ref().empty()) {
    return invalid_argument("write content: first message must have a reference");
  }
  ref_ = request.ref();
  total_ = request.total();
  if (!request.expected().empty()) {
    BERTH_RETURN_IF_ERROR(Digest::parse(request.expected()).status());
    BERTH_RETURN_IF_ERROR(lease_existing(request.expected()));
    // Held so that the blob is not collected before the ingest's row keeps it.
    BERTH_ASSIGN_OR_RETURN(const InFlight::Hold hold,
                           in_flight_.use(context_, blob_name(request.expected())));
    BERTH_ASSIGN_OR_RETURN(const auto size, shareable_size(request.expected()));
    if (size && (total_ == 0 || total_ == *size)) {
      BERTH_RETURN_IF_ERROR(record_ingest(request.expected()));
      // The row names a blob; whether the store still has it, it alone knows.
      shared_ = backend_.size(context_, request.expected()).ok();
      if (shared_) {
        total_ = *size;
        last_.set_offset(*size);
        last_.set_digest(request.expected());
        put_time(wall_now(), last_.mutable_started_at());
        *last_.mutable_updated_at() = last_.started_at();
        last_known_ = true;
        opened_ = true;
        return {};
      }
    }
  }
  BERTH_RETURN_IF_ERROR(record_ingest({}));
  opened_ = true;
  return {};
}

// ALREADY_EXISTS, with a lease on it, when the namespace has the blob.
Status WriteSession::lease_existing(const std::string& digest) {
  bool found = false;
  const Status done = store_.read([&](Connection& db) -> Status {
    BERTH_ASSIGN_OR_RETURN(
        found, exists(db, "SELECT 1 FROM content WHERE ns = ?1 AND digest = ?2", ns_, digest));
    return {};
  });
  BERTH_RETURN_IF_ERROR(done);
  if (!found) return {};
  if (!context_.header(kLeaseHeader).empty()) {
    const Status written = store_.write([&](Tx& tx) -> Status {
      BERTH_ASSIGN_OR_RETURN(
          found, exists(tx, "SELECT 1 FROM content WHERE ns = ?1 AND digest = ?2", ns_, digest));
      if (!found) return {};  // removed meanwhile
      return add_to_lease(tx, context_, ns_, Kind::kContent, digest).status();
    });
    BERTH_RETURN_IF_ERROR(written);
  }
  return found ? already_exists("content " + digest + ": already exists") : Status();
}

// The size of a blob that another namespace has and this one may share.
Result<std::optional<int64_t>> WriteSession::shareable_size(const std::string& digest) {
  std::optional<int64_t> size;
  const Status done = store_.read([&](Connection& db) -> Status {
    Query query(db,
                "SELECT c.size, n.labels FROM content c JOIN namespaces n ON n.name = c.ns "
                "WHERE c.digest = ?1",
                digest);
    while (true) {
      BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
      if (!found) return {};
      Labels labels;
      if (policy_ == SharingPolicy::kIsolated) {
        BERTH_RETURN_IF_ERROR(decode_labels(query.text(1), &labels));
        const auto label = labels.find(std::string(kShareable));
        if (label == labels.end() || label->second != "true") continue;
      }
      size = query.integer(0);
      return {};
    }
  });
  BERTH_RETURN_IF_ERROR(done);
  return size;
}

// Begins or resumes; always before the backend does, so that the backend has no ingest without a
// row. An unfinished ingest that a power loss takes away is begun anew, so nobody
// waits for the disk here.
Status WriteSession::record_ingest(const std::string& shared_digest) {
  BERTH_ASSIGN_OR_RETURN(const int64_t number, store_.next_number());
  const std::string fresh = ns_ + "/" + std::to_string(number) + "/" + ref_;
  const int64_t now = wall_now();
  return store_.write(
      [&](Tx& tx) -> Status {
        BERTH_RETURN_IF_ERROR(ensure_namespace(tx, ns_));
        BERTH_ASSIGN_OR_RETURN(const bool leased,
                               add_to_lease(tx, context_, ns_, Kind::kIngest, ref_));
        {
          Query query(tx, "SELECT backend FROM ingests WHERE ns = ?1 AND ref = ?2", ns_, ref_);
          BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
          backend_ref_ = found ? query.string(0) : fresh;
        }
        return run(tx,
                   "INSERT INTO ingests VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET "
                   "expected = excluded.expected, root_until = excluded.root_until",
                   ns_, ref_, backend_ref_, shared_digest, now, leased ? 0 : now + kIngestLife);
      },
      Store::Durability::kRelaxed);
}

// Size and digest may come with any message; the last ones count.
Status WriteSession::expect(const Request& request) {
  if (request.total() > 0) total_ = request.total();
  if (request.expected().empty()) return {};
  BERTH_RETURN_IF_ERROR(Digest::parse(request.expected()).status());
  expected_ = request.expected();
  const Status existing = lease_existing(expected_);
  if (existing.code() == Code::kAlreadyExists) {
    // Someone else was faster; the bytes here are of no more use.
    writer_.reset();
    (void)abort_ingest(store_, backend_, context_, ns_, ref_);
  }
  return existing;
}

// From "complete by sharing" to an empty ingest of its own.
Status WriteSession::unshare() {
  shared_ = false;
  last_.Clear();
  last_known_ = false;
  return record_ingest({});
}

Status WriteSession::forward(const Request& request, std::string_view data, Response* response) {
  Request inner = request;
  inner.clear_expected();  // the backend would say that another namespace's blob exists
  inner.clear_labels();
  if (writer_ == nullptr) {
    writer_ = backend_.write(context_);
    inner.set_ref(backend_ref_);
    // The algorithm of the digest is chosen at the beginning.
    if (!expected_.empty() && algorithm_of(expected_) != "sha256" &&
        backend_.size(context_, expected_).status().code() == Code::kNotFound) {
      inner.set_expected(expected_);
    }
  } else {
    inner.clear_ref();
  }
  if (inner.total() == 0) inner.set_total(total_);
  BERTH_RETURN_IF_ERROR(writer_->exchange(inner, data, response));
  last_known_ = true;
  return {};
}

Status WriteSession::commit(const WriteRequest& request, Response* response) {
  const Request& head = request.head;
  BERTH_RETURN_IF_ERROR(validate_labels(head.labels(), "info.Labels"));
  if (!shared_ && (!last_known_ || !request.data.empty() || head.offset() != last_.offset())) {
    Request write = head;
    write.set_action(WriteAction::WRITE);
    BERTH_RETURN_IF_ERROR(forward(write, request.data, &last_));
  }
  BERTH_RETURN_IF_ERROR(check_commit());
  const bool other_algorithm =
      !expected_.empty() && algorithm_of(expected_) != algorithm_of(last_.digest());
  const std::string digest = other_algorithm ? expected_ : last_.digest();
  // From here until the row is there, nobody takes the blob for garbage.
  BERTH_ASSIGN_OR_RETURN(const InFlight::Hold hold, in_flight_.use(context_, blob_name(digest)));
  if (shared_) {
    BERTH_RETURN_IF_ERROR(backend_.size(context_, digest).status());
  } else {
    BERTH_RETURN_IF_ERROR(commit_backend(digest));
  }
  last_.set_digest(digest);
  BERTH_RETURN_IF_ERROR(record_commit(head));
  fill(head, response);
  committed_ = Committed{digest, last_.offset()};
  return {};
}

Status WriteSession::check_commit() const {
  const std::string ingest = "commit ingest " + quoted(ref_);
  if (total_ > 0 && total_ != last_.offset()) {
    return failed_precondition(ingest + ": unexpected commit size " +
                               std::to_string(last_.offset()) + ", expected " +
                               std::to_string(total_) + ": failed precondition");
  }
  if (!expected_.empty() && algorithm_of(expected_) == algorithm_of(last_.digest()) &&
      expected_ != last_.digest()) {
    return failed_precondition(ingest + ": unexpected commit digest " + last_.digest() +
                               ", expected " + expected_ + ": failed precondition");
  }
  return {};
}

// The blob is in the backend, verified and synced, when this returns OK.
Status WriteSession::commit_backend(const std::string& digest) {
  const bool other_algorithm = digest != last_.digest();
  if (other_algorithm && backend_.size(context_, digest).ok()) {
    // Nobody has compared the bytes here with that digest.
    if (policy_ == SharingPolicy::kShared) return {};
    return failed_precondition("commit ingest " + quoted(ref_) + ": its bytes were not hashed as " +
                               algorithm_of(digest) +
                               "; abort it and name the digest with the first message");
  }
  Request request;
  request.set_action(WriteAction::COMMIT);
  request.set_offset(last_.offset());
  request.set_total(last_.offset());
  if (other_algorithm) request.set_expected(digest);
  Response response;
  const Status status = writer_->exchange(request, {}, &response);
  if (status.code() == Code::kAlreadyExists && !other_algorithm) {
    return {};  // another namespace has it; these bytes have the same digest
  }
  BERTH_RETURN_IF_ERROR(status);
  *last_.mutable_updated_at() = response.updated_at();
  return {};
}

Status WriteSession::record_commit(const Request& request) {
  const std::string& digest = last_.digest();
  const std::string labels = encode_labels(request.labels());
  const int64_t now = wall_now();
  bool existed = false;
  const Status written = store_.write([&](Tx& tx) -> Status {
    BERTH_RETURN_IF_ERROR(run(tx, "DELETE FROM ingests WHERE ns = ?1 AND ref = ?2", ns_, ref_));
    BERTH_RETURN_IF_ERROR(drop_references(tx, ns_, Kind::kIngest, ref_));
    BERTH_RETURN_IF_ERROR(remove_from_lease(tx, context_, ns_, Kind::kIngest, ref_));
    BERTH_RETURN_IF_ERROR(add_to_lease(tx, context_, ns_, Kind::kContent, digest).status());
    BERTH_RETURN_IF_ERROR(
        run(tx, "INSERT OR IGNORE INTO content VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6)", ns_, digest,
            last_.offset(), labels, now, root_until(request.labels())));
    existed = tx.changes() == 0;
    if (existed) return {};  // what else was done here stays done
    return write_label_references(tx, ns_, Kind::kContent, digest, request.labels());
  });
  BERTH_RETURN_IF_ERROR(written);
  return existed ? already_exists("content " + digest + ": already exists") : Status();
}

Status abort_ingest(Store& store, ContentBackend& backend, const Context& context,
                    const std::string& ns, const std::string& ref) {
  std::string backend_ref;
  bool shared = false;
  const Status written = store.write([&](Tx& tx) -> Status {
    tx.mark_removal();
    {
      Query query(tx, "DELETE FROM ingests WHERE ns = ?1 AND ref = ?2 RETURNING backend, expected",
                  ns, ref);
      BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
      if (!found) return not_found("reference " + ref + ": not found");
      backend_ref = query.string(0);
      shared = !query.text(1).empty();
    }
    BERTH_RETURN_IF_ERROR(drop_references(tx, ns, Kind::kIngest, ref));
    return remove_from_lease(tx, context, ns, Kind::kIngest, ref);
  });
  BERTH_RETURN_IF_ERROR(written);
  if (shared) return {};
  const Status aborted = backend.abort(context, backend_ref);
  return aborted.code() == Code::kNotFound ? Status() : aborted;
}

}  // namespace berth::metadata
