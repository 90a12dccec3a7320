// The format of metadata.db (docs/formats/metadata.md) and the way from older ones to it.
#pragma once

#include <berth/sqlite.h>

#include <span>

namespace berth::metadata {

/// Step i leads from version i to i + 1; version 0 is an empty database.
std::span<const char* const> migrations();

/// Brings a database to the version after the last step, each step in a transaction of its own.
/// FAILED_PRECONDITION for a database that is newer, or not of this program; it is left as it is.
Status migrate(sqlite::Database& db, const std::string& path, std::span<const char* const> steps);

}  // namespace berth::metadata
