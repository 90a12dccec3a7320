// Which shared libraries of a plugin can be those that it was built with.
#pragma once

#include <berth/status.h>

#include <string>
#include <vector>

namespace berth::abi {

/// OK, or FAILED_PRECONDITION for the first of the libraries that a plugin needs (DT_NEEDED) that
/// is there already under another soname. A plugin's symbols are looked for in the program's
/// libraries first, so it would run code of a version that it was not built for. Told of libraries
/// whose symbols have no versions; libprotobuf-lite is a part of libprotobuf. `present`: names of
/// the program's libraries, with or without their folders. Pure; any thread.
Status check_runtime_libraries(const std::string& file, const std::vector<std::string>& needed,
                               const std::vector<std::string>& present);

/// The libraries that the program was started with: those there at the first call, which must come
/// before the first dlopen of a plugin.
const std::vector<std::string>& libraries_of_program();

}  // namespace berth::abi
