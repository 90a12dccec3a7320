// berthctl plugin new: a folder of one's own from a template.
#pragma once

#include <berth/status.h>

#include <string>
#include <vector>

namespace berth::ctl {

struct NewPlugin {
  std::string type;       // snapshotter, content, differ, runtime, service
  std::string lang;       // cpp, c, rust
  std::string name;       // id of the plugin and name of its file
  std::string directory;  // where; empty: ./NAME
};

/// The folder that holds the templates: beside the program (../share/berth/templates), or where it
/// was to be installed.
std::string templates_folder();

/// "TYPE-LANG" of all there are, sorted.
std::vector<std::string> offered(const std::string& templates);

/// Makes the folder, which must be absent or empty; returns its path. INVALID_ARGUMENT for a name
/// that cannot be one, UNIMPLEMENTED naming what is offered for a pair that is not.
Result<std::string> make_plugin(const NewPlugin& wanted, const std::string& templates);

}  // namespace berth::ctl
