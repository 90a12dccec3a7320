# Target berth_grpc: gRPC's C++ library without TLS, since doors are unix sockets only.
#
# With BERTH_STATIC_GRPC its archives and Abseil's go into the program: berthd is the only part that speaks gRPC, and a
# start that maps some fifty shared libraries fewer takes half the time and less memory (docs/benchmarks.md).
# Distributions that want shared libraries set it to OFF.
option(BERTH_STATIC_GRPC "Link gRPC and Abseil into berthd" ON)
pkg_check_modules(GRPCPP REQUIRED IMPORTED_TARGET grpc++_unsecure absl_synchronization)
add_library(berth_grpc INTERFACE)

set(archives "")
set(absent "")
if(BERTH_STATIC_GRPC)
  set(names ${GRPCPP_STATIC_LIBRARIES} upb cares address_sorting)  # the .pc file leaves the last three out
  list(REMOVE_DUPLICATES names)
  list(REMOVE_ITEM names rt atomic z)
  foreach(name IN LISTS names)
    find_library(BERTH_ARCHIVE_${name} NAMES "lib${name}.a")
    mark_as_advanced(BERTH_ARCHIVE_${name})
    if(BERTH_ARCHIVE_${name})
      list(APPEND archives "${BERTH_ARCHIVE_${name}}")
    else()
      list(APPEND absent "lib${name}.a")
    endif()
  endforeach()
endif()

if(BERTH_STATIC_GRPC AND NOT absent)
  target_include_directories(berth_grpc SYSTEM INTERFACE ${GRPCPP_INCLUDE_DIRS})
  target_link_libraries(berth_grpc INTERFACE "-Wl,--start-group" ${archives} "-Wl,--end-group" z Threads::Threads)
  # What they export is theirs: a plugin that brings a gRPC of its own must not get this one.
  target_link_options(berth_grpc INTERFACE "-Wl,--exclude-libs,ALL" "-Wl,--gc-sections")
else()
  if(absent)
    message(STATUS "BERTH_STATIC_GRPC: absent: ${absent}; linking the shared libraries")
  endif()
  target_link_libraries(berth_grpc INTERFACE PkgConfig::GRPCPP)
endif()
