#include "images.h"

#include <berth/digest.h>

#include "record.h"

namespace berth::metadata {

using namespace containerd::services::images::v1;

namespace {

constexpr std::string_view kSelect =
    "SELECT name, labels, media_type, digest, size, annotations, created, updated "
    "FROM images WHERE ns = ?1 AND name = ?2";
constexpr std::string_view kSelectAll =
    "SELECT name, labels, media_type, digest, size, annotations, created, updated "
    "FROM images WHERE ns = ?1 ORDER BY name";
// An image whose label gives it an end lives on only by references: a lease may be one.
constexpr std::string_view kExpireLabel = "containerd.io/gc.expire";

Status invalid(const std::string& why) { return invalid_argument(why + ": invalid argument"); }

Status missing(std::string_view name) { return not_found("image " + quoted(name) + ": not found"); }

Status read_row(const Query& row, Image* out) {
  out->set_name(row.string(0));
  BERTH_RETURN_IF_ERROR(decode_labels(row.text(1), out->mutable_labels()));
  auto* target = out->mutable_target();
  target->set_media_type(row.string(2));
  target->set_digest(row.string(3));
  target->set_size(row.integer(4));
  BERTH_RETURN_IF_ERROR(decode_labels(row.text(5), target->mutable_annotations()));
  put_time(row.integer(6), out->mutable_created_at());
  put_time(row.integer(7), out->mutable_updated_at());
  return {};
}

Result<bool> find(Connection& db, std::string_view ns, std::string_view name, Image* out) {
  Query query(db, kSelect, ns, name);
  BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
  if (!found) return false;
  BERTH_RETURN_IF_ERROR(read_row(query, out).with_context("image " + quoted(name)));
  return true;
}

Status validate(const Image& image) {
  if (image.name().empty()) return invalid("image name must not be empty");
  BERTH_RETURN_IF_ERROR(validate_labels(image.labels(), "image.Labels"));
  const auto& target = image.target();
  const auto digest = Digest::parse(target.digest());
  if (!digest.ok()) {
    return invalid("target.Digest " + quoted(target.digest()) +
                   " invalid: " + digest.status().message());
  }
  if (target.size() <= 0) return invalid("target.Size must be greater than zero");
  if (target.media_type().empty()) return invalid("target.MediaType must be set");
  return {};
}

FieldLookup fields_of(const Image& image) {
  return [&image](std::span<const std::string> path) -> std::optional<std::string> {
    const std::string& field = path.front();
    if (field == "name") return text_field(image.name());
    if (field == "labels") return label_field(image.labels(), path.subspan(1));
    if (field == "annotations") return label_field(image.target().annotations(), path.subspan(1));
    if (field == "target" && path.size() > 1) {
      if (path[1] == "digest") return text_field(image.target().digest());
      if (path[1] == "mediatype") return text_field(image.target().media_type());
    }
    return std::nullopt;
  };
}

Status apply_mask(const Image& wanted, const google::protobuf::FieldMask& mask, Image* updated) {
  if (mask.paths().empty()) {
    *updated->mutable_labels() = wanted.labels();
    *updated->mutable_target() = wanted.target();
    return {};
  }
  for (const std::string& path : mask.paths()) {
    auto* target = updated->mutable_target();
    if (const auto label = mask_key(path, "labels")) {
      copy_label(wanted.labels(), *label, updated->mutable_labels());
    } else if (const auto annotation = mask_key(path, "annotations")) {
      copy_label(wanted.target().annotations(), *annotation, target->mutable_annotations());
    } else if (path == "labels") {
      *updated->mutable_labels() = wanted.labels();
    } else if (path == "target") {
      // As a unit only: digest, size and media type of one descriptor belong together.
      *target = wanted.target();
    } else if (path == "annotations") {
      *target->mutable_annotations() = wanted.target().annotations();
    } else {
      return invalid("cannot update " + quoted(path) + " field on image " + quoted(wanted.name()));
    }
  }
  return {};
}

Status write_references(Connection& db, const Context& context, std::string_view ns,
                        const Image& image) {
  BERTH_RETURN_IF_ERROR(
      run(db, "DELETE FROM refs WHERE ns = ?1 AND kind = 'image' AND key = ?2 AND by_label = 0", ns,
          image.name()));
  BERTH_RETURN_IF_ERROR(
      add_reference(db, ns, Kind::kImage, image.name(), Kind::kContent, image.target().digest()));
  BERTH_RETURN_IF_ERROR(write_label_references(db, ns, Kind::kImage, image.name(), image.labels()));
  if (image.labels().contains(std::string(kExpireLabel))) {
    return add_to_lease(db, context, ns, Kind::kImage, image.name()).status();
  }
  return {};
}

}  // namespace

Status Images::Get(Context& context, const GetImageRequest& request, GetImageResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  return store_.read([&](Connection& db) -> Status {
    BERTH_ASSIGN_OR_RETURN(const bool found,
                           find(db, ns, request.name(), response->mutable_image()));
    return found ? Status() : missing(request.name());
  });
}

Status Images::List(Context& context, const ListImagesRequest& request,
                    ListImagesResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  BERTH_ASSIGN_OR_RETURN(const FilterSet filters, FilterSet::parse(request.filters()));
  return store_.read([&](Connection& db) -> Status {
    Query query(db, kSelectAll, ns);
    while (true) {
      BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
      if (!found) return {};
      Image image;
      BERTH_RETURN_IF_ERROR(read_row(query, &image).with_context("image " + query.string(0)));
      if (filters.matches(fields_of(image))) *response->add_images() = std::move(image);
    }
  });
}

Status Images::Create(Context& context, const CreateImageRequest& request,
                      CreateImageResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  const Image& wanted = request.image();
  BERTH_RETURN_IF_ERROR(validate(wanted));
  const int64_t now =
      request.has_source_date_epoch() ? get_time(request.source_date_epoch()) : wall_now();
  const auto& target = wanted.target();
  const std::string labels = encode_labels(wanted.labels());
  const std::string annotations = encode_labels(target.annotations());
  BERTH_RETURN_IF_ERROR(store_.write([&](Tx& tx) -> Status {
    BERTH_RETURN_IF_ERROR(ensure_namespace(tx, ns));
    BERTH_RETURN_IF_ERROR(run(tx,
                              "INSERT OR IGNORE INTO images VALUES "
                              "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9)",
                              ns, wanted.name(), labels, target.media_type(), target.digest(),
                              target.size(), annotations, now, lifetime(wanted.labels())));
    if (tx.changes() == 0) {
      return already_exists("image " + quoted(wanted.name()) + ": already exists");
    }
    return write_references(tx, context, ns, wanted);
  }));
  Image* created = response->mutable_image();
  *created = wanted;
  drop_empty(created->mutable_labels());
  put_time(now, created->mutable_created_at());
  put_time(now, created->mutable_updated_at());
  return {};
}

Status Images::Update(Context& context, const UpdateImageRequest& request,
                      UpdateImageResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  const Image& wanted = request.image();
  if (wanted.name().empty()) return invalid("update image: image name must not be empty");
  const int64_t now =
      request.has_source_date_epoch() ? get_time(request.source_date_epoch()) : wall_now();
  Image updated;
  BERTH_RETURN_IF_ERROR(store_.write([&](Tx& tx) -> Status {
    updated.Clear();
    BERTH_ASSIGN_OR_RETURN(const bool found, find(tx, ns, wanted.name(), &updated));
    if (!found) return missing(wanted.name());
    BERTH_RETURN_IF_ERROR(apply_mask(wanted, request.update_mask(), &updated));
    BERTH_RETURN_IF_ERROR(validate(updated));
    drop_empty(updated.mutable_labels());
    put_time(now, updated.mutable_updated_at());
    const auto& target = updated.target();
    BERTH_RETURN_IF_ERROR(run(
        tx,
        "UPDATE images SET labels = ?3, media_type = ?4, digest = ?5, size = ?6, "
        "annotations = ?7, updated = ?8, root_until = ?9 WHERE ns = ?1 AND name = ?2",
        ns, wanted.name(), encode_labels(updated.labels()), target.media_type(), target.digest(),
        target.size(), encode_labels(target.annotations()), now, lifetime(updated.labels())));
    tx.mark_dirty();  // the former target may be free
    return write_references(tx, context, ns, updated);
  }));
  *response->mutable_image() = std::move(updated);
  return {};
}

Status Images::Delete(Context& context, const DeleteImageRequest& request,
                      google::protobuf::Empty*) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  const std::string& name = request.name();
  const std::string target = request.has_target() ? request.target().digest() : std::string();
  return store_.write([&](Tx& tx) -> Status {
    Image image;
    BERTH_ASSIGN_OR_RETURN(const bool found, find(tx, ns, name, &image));
    if (!found) return missing(name);
    if (!target.empty() && image.target().digest() != target) {
      return not_found("image " + quoted(name) + " has target " + image.target().digest() +
                       ", not " + target + ": not found");
    }
    BERTH_RETURN_IF_ERROR(remove_from_lease(tx, context, ns, Kind::kImage, name));
    BERTH_RETURN_IF_ERROR(run(tx, "DELETE FROM images WHERE ns = ?1 AND name = ?2", ns, name));
    tx.mark_dirty();
    tx.mark_removal();
    return drop_references(tx, ns, Kind::kImage, name);
  });
}

}  // namespace berth::metadata
