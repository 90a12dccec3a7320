// Labels (and annotations): their form in the database, their limits, masked updates.
#pragma once

#include <berth/filter.h>
#include <berth/status.h>
#include <google/protobuf/map.h>

#include <string>
#include <string_view>

namespace berth::metadata {

/// As protobuf messages have them.
using Labels = google::protobuf::Map<std::string, std::string>;

/// A JSON object with sorted keys. An empty value means that the label is not set, as in
/// containerd.
std::string encode_labels(const Labels& labels);
/// DATA_LOSS when `json` is not an object of strings.
Status decode_labels(std::string_view json, Labels* out);

/// INVALID_ARGUMENT when key and value together have more than 4096 bytes. `object` begins the
/// message: "container.Labels".
Status validate_labels(const Labels& labels, std::string_view object);

/// Takes one label of a field mask ("labels.<key>") from `from` into `into`.
void copy_label(const Labels& from, std::string_view key, Labels* into);
/// Removes labels with empty values, which stand for "not set".
void drop_empty(Labels* labels);

/// The part of `path` behind "<field>.", or nothing.
std::optional<std::string_view> mask_key(std::string_view path, std::string_view field);

/// What a filter sees for "labels.<key>", given the parts after "labels".
std::optional<std::string> label_field(const Labels& labels, std::span<const std::string> path);
/// What a filter sees for a text that counts as absent when empty.
std::optional<std::string> text_field(const std::string& text);

}  // namespace berth::metadata
