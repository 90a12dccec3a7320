// What a package of plugins depends on and provides, as Debian writes it, worked out from the
// manifests in the plugins' files.
//
// A plugin package provides virtual packages named by what a requirement can ask for: a type, a
// type with an id, either of them with a service. Whoever requires one depends on that name, so
// that no package needs to know by which package it is provided.
#pragma once

#include <berth/status.h>

#include <string>
#include <vector>

#include "manifest/manifest.h"

namespace berth::packaging {

/// Each a sorted list of relations without duplicates, such as "berth-abi-0 (>= 0.1)".
struct Relations {
  std::vector<std::string> depends;     // no plugin of the package runs without it
  std::vector<std::string> recommends;  // some of its plugins need it, or can use it
  std::vector<std::string> suggests;    // it serves any number of these
  std::vector<std::string> provides;
};

/// Of one package with these files' manifests. What the package has itself is not asked for. Pure.
Relations relations_of(const std::vector<manifest::Manifest>& manifests);

/// A substvars file of dpkg-gencontrol: "berth:Depends=…" and so on, one line each, also empty
/// ones.
std::string to_substvars(const Relations& relations);

}  // namespace berth::packaging
