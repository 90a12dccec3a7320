# Objects of generated code are the same in every build folder: with paths relative to it, a second one finds the first one's in the cache.
function(berth_cache_of_build_folder target)
  if(BERTH_CCACHE)
    set_target_properties(${target} PROPERTIES CXX_COMPILER_LAUNCHER
      "env;CCACHE_BASEDIR=${PROJECT_BINARY_DIR};CCACHE_NOHASHDIR=1;${BERTH_CCACHE}")
  endif()
endfunction()

# berth_lite_messages(TARGET FROM folder PROTOS file... [SERVICES file...])
#
# A static library TARGET of the messages of .proto files, named relative to the folder, for protobuf's lite runtime: no descriptors and
# nothing registered, so a process may have any number of copies of them. Hidden and in sections of their own: a plugin takes what it uses,
# and shows nothing of it. The well-known types that containerd's files import are in it, since libprotobuf-lite has none, and the full
# ones have another layout. SERVICES are those of the files of which x.berth.h is made as well. Headers are in the binary folder TARGET.
function(berth_lite_messages target)
  cmake_parse_arguments(arg "" "FROM" "PROTOS;SERVICES" ${ARGN})
  set(gen "${CMAKE_CURRENT_BINARY_DIR}/${target}")
  set(generate "${PROJECT_SOURCE_DIR}/api/generate.cmake")
  set(inputs ${arg_PROTOS})
  list(TRANSFORM inputs PREPEND "${arg_FROM}/")
  foreach(known IN ITEMS any empty field_mask timestamp)
    list(APPEND arg_PROTOS "google/protobuf/${known}.proto")
  endforeach()
  set(sources)
  foreach(proto IN LISTS arg_PROTOS)
    string(REGEX REPLACE "\\.proto$" "" stem "${proto}")
    list(APPEND sources "${gen}/${stem}.pb.cc" "${gen}/${stem}.pb.h")
  endforeach()
  file(MAKE_DIRECTORY "${gen}")
  add_custom_command(OUTPUT ${sources}
    COMMAND "${CMAKE_COMMAND}" -D "PROTOC=$<TARGET_FILE:protobuf::protoc>" -D "FROM=${arg_FROM}" -D "PROTOS=${arg_PROTOS}"
            -D "ARGS=-I;${Protobuf_INCLUDE_DIRS};--cpp_out=lite:${gen}-stage/messages"
            -D "STAGE=${gen}-stage/messages" -D "OUT=${gen}" -P "${generate}"
    DEPENDS ${inputs} "${generate}"
    COMMENT "Generating the messages of ${target}"
    VERBATIM)
  if(arg_SERVICES)
    set(headers ${arg_SERVICES})
    list(TRANSFORM headers REPLACE "^(.*)\\.proto$" "${gen}/\\1.berth.h")
    add_custom_command(OUTPUT ${headers}
      COMMAND "${CMAKE_COMMAND}" -D "PROTOC=$<TARGET_FILE:protobuf::protoc>" -D "FROM=${arg_FROM}" -D "PROTOS=${arg_SERVICES}"
              -D "ARGS=--plugin=protoc-gen-berth=$<TARGET_FILE:protoc-gen-berth>;--berth_out=${gen}-stage/services"
              -D "STAGE=${gen}-stage/services" -D "OUT=${gen}" -P "${generate}"
      DEPENDS ${inputs} "${generate}" protoc-gen-berth
      COMMENT "Generating the services of ${target}"
      VERBATIM)
    list(APPEND sources ${headers})
  endif()
  add_library(${target} STATIC ${sources})
  target_include_directories(${target} SYSTEM PUBLIC
    "$<BUILD_INTERFACE:${gen}>" "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/berth-api>")
  target_link_libraries(${target} PUBLIC protobuf::libprotobuf-lite)
  set_target_properties(${target} PROPERTIES
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    INTERFACE_BERTH_MESSAGES lite COMPATIBLE_INTERFACE_STRING BERTH_MESSAGES
    COMPILE_OPTIONS "")
  target_compile_options(${target} PRIVATE -w -O2 -g0 -DNDEBUG -ffunction-sections -fdata-sections)
  berth_cache_of_build_folder(${target})
endfunction()
