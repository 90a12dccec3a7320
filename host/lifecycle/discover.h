// Finding plugin files and reading their manifests, without running any of their code.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace berth::lifecycle {

struct Discovery {
  std::vector<graph::Candidate> candidates;
  std::map<std::string, manifest::Manifest> manifests;  // by file
  /// Directories and files that could not be used at all, one message each.
  std::vector<std::string> problems;
};

/// Looks at every *.so of the directories, in order of name. A directory that does not exist is a
/// problem only when `must_exist`. Files and directories that others can write are refused.
Discovery discover(const std::vector<std::string>& directories, bool must_exist);

}  // namespace berth::lifecycle
