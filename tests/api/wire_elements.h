#pragma once

#include <google/protobuf/descriptor.h>

#include <map>
#include <string>
#include <vector>

namespace berth::api_test {

/// Everything in protocol files that a peer can tell apart: by kind and full name ("field
/// containerd.types.Mount.type"), each with its properties as text. What cannot be seen from
/// outside (file names, comments, language options, the order of declarations, reserved ranges) is
/// left out.
using WireElements = std::map<std::string, std::string>;

/// Adds the elements of one file, nested ones included, not those of its imports.
void add_elements(const google::protobuf::FileDescriptor& file, WireElements* elements);

/// One line per element that only one side has, or that both have with other properties. Empty when
/// they agree.
std::vector<std::string> differences(const WireElements& ours, const WireElements& theirs);

}  // namespace berth::api_test
