set(BERTH_SDK_CMAKE_DIR "${CMAKE_CURRENT_LIST_DIR}")

# Writes `entry`, the source that carries the manifest and, with the façade, the entry point.
function(berth_write_entry manifest_file entry)
  # The least minor that the manifest asks for, for the entry to compare.
  set(manifest_minor "BERTH_ABI_MINOR")
  file(STRINGS "${manifest_file}" abi_line REGEX "^abi *=.*minor *= *[0-9]+")
  if(abi_line MATCHES "minor *= *([0-9]+)")
    set(manifest_minor "${CMAKE_MATCH_1}")
  endif()
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${manifest_file}")
  configure_file("${BERTH_SDK_CMAKE_DIR}/entry.cc.in" "${entry}" @ONLY)
endfunction()

# berth_add_plugin(NAME SOURCES file... [LIBS target...] [MANIFEST file] [NO_FACADE])
#
# Builds one plugin folder into NAME.so: hidden visibility, a version script that exports the entry symbol alone, and
# plugin.toml of the calling folder (or MANIFEST) embedded verbatim as an ELF note. With NO_FACADE the sources define the entry symbol
# themselves (plugins in C); the note then sits in a C object of its own that the linker is told to keep.
function(berth_add_plugin name)
  cmake_parse_arguments(arg "NO_FACADE" "MANIFEST" "SOURCES;LIBS" ${ARGN})
  set(manifest_file "${CMAKE_CURRENT_SOURCE_DIR}/plugin.toml")
  if(arg_MANIFEST)
    get_filename_component(manifest_file "${arg_MANIFEST}" ABSOLUTE)
  endif()
  if(NOT EXISTS "${manifest_file}")
    message(FATAL_ERROR "berth_add_plugin(${name}): ${manifest_file} is missing; every plugin folder has a plugin.toml")
  endif()
  set(entry "${CMAKE_CURRENT_BINARY_DIR}/${name}_entry.cc")
  if(arg_NO_FACADE)
    set(entry "${CMAKE_CURRENT_BINARY_DIR}/${name}_entry.c")
  endif()
  berth_write_entry("${manifest_file}" "${entry}")
  set_source_files_properties("${entry}" PROPERTIES OBJECT_DEPENDS "${manifest_file}")

  add_library(${name} MODULE ${arg_SOURCES} "${entry}")
  target_link_libraries(${name} PRIVATE Berth::sdk ${arg_LIBS})
  if(TARGET berth_warnings)
    target_link_libraries(${name} PRIVATE berth_warnings)
  endif()
  if(NOT arg_NO_FACADE)
    set(messages "$<TARGET_PROPERTY:${name},BERTH_API_MESSAGES>")  # empty where the generated messages are not linked
    set_source_files_properties("${entry}" PROPERTIES COMPILE_DEFINITIONS
                                "BERTH_PLUGIN_FACADE;$<$<BOOL:${messages}>:BERTH_API_MESSAGES=${messages}>")
  endif()
  target_link_options(${name} PRIVATE "LINKER:--version-script=${BERTH_SDK_CMAKE_DIR}/plugin.map"
                                      "LINKER:--gc-sections")
  if(NOT BERTH_SANITIZE)
    target_link_options(${name} PRIVATE "LINKER:--no-undefined")
  endif()
  set_target_properties(${name} PROPERTIES
    PREFIX "" SKIP_BUILD_RPATH ON INSTALL_RPATH ""  # what the host has loaded is there; the rest comes from the system
    CXX_VISIBILITY_PRESET hidden C_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    LINK_DEPENDS "${BERTH_SDK_CMAKE_DIR}/plugin.map")
  if(BERTH_PLUGIN_OUTPUT_DIRECTORY)
    set_target_properties(${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${BERTH_PLUGIN_OUTPUT_DIRECTORY}")
  endif()
endfunction()

# berth_add_services(NAME file.proto...)
#
# A static library NAME of the messages (x.pb.h) and of the server classes and clients (x.berth.h) of .proto files of the
# plugin's own. Files are named relative to the calling folder, and so included: proto/hello/v1/hello.proto gives
# "proto/hello/v1/hello.berth.h". Files of containerd's and Berth's API, and google/protobuf/{any,empty,field_mask,timestamp}.proto can be
# imported. Messages are for protobuf's lite runtime: without reflection, and nothing of them is seen by other plugins. (The
# services' descriptors, for clients that ask for them, are in the server classes.)
function(berth_add_services name)
  set(gen "${CMAKE_CURRENT_BINARY_DIR}/${name}")
  file(MAKE_DIRECTORY "${gen}")
  set(sources)
  foreach(proto IN LISTS ARGN)
    string(REGEX REPLACE "\\.proto$" "" stem "${proto}")
    add_custom_command(OUTPUT "${gen}/${stem}.pb.cc" "${gen}/${stem}.pb.h" "${gen}/${stem}.berth.h"
      COMMAND protobuf::protoc "--proto_path=${CMAKE_CURRENT_SOURCE_DIR}" "--proto_path=${BERTH_API_DIR}" "--cpp_out=lite:${gen}"
              "--plugin=protoc-gen-berth=$<TARGET_FILE:Berth::protoc-gen-berth>" "--berth_out=${gen}" "${proto}"
      WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
      DEPENDS "${proto}" Berth::protoc-gen-berth
      COMMENT "Generating the services of ${proto}"
      VERBATIM)
    list(APPEND sources "${gen}/${stem}.pb.cc" "${gen}/${stem}.berth.h")
  endforeach()
  add_library(${name} STATIC ${sources})
  target_include_directories(${name} SYSTEM PUBLIC "${gen}")
  target_compile_options(${name} PRIVATE -w -ffunction-sections -fdata-sections)
  target_link_libraries(${name} PUBLIC Berth::sdk Berth::api)
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
endfunction()

# berth_add_c_messages(NAME file.proto...)
#
# A static library NAME of the messages in C (protobuf-c) of .proto files: the plugin's own, named relative to the calling folder, and
# containerd's and Berth's, named as they are imported ("containerd/types/mount.proto"). Name what is imported as well, but for
# google/protobuf/*, which comes with it. A file x.proto gives "x.pb-c.h".
function(berth_add_c_messages name)
  find_package(PkgConfig REQUIRED)
  if(NOT TARGET PkgConfig::BERTH_PROTOBUF_C)
    pkg_check_modules(BERTH_PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
  endif()
  find_program(BERTH_PROTOC_C protoc-c REQUIRED)
  find_path(BERTH_WELL_KNOWN_PROTOS google/protobuf/empty.proto REQUIRED)
  set(gen "${CMAKE_CURRENT_BINARY_DIR}/${name}")
  file(MAKE_DIRECTORY "${gen}")
  set(protos ${ARGN})
  foreach(known IN ITEMS any empty field_mask timestamp)
    list(APPEND protos "google/protobuf/${known}.proto")
  endforeach()
  set(sources)
  foreach(proto IN LISTS protos)
    string(REGEX REPLACE "\\.proto$" "" stem "${proto}")
    add_custom_command(OUTPUT "${gen}/${stem}.pb-c.c" "${gen}/${stem}.pb-c.h"
      COMMAND "${BERTH_PROTOC_C}" "--proto_path=${CMAKE_CURRENT_SOURCE_DIR}" "--proto_path=${BERTH_API_DIR}"
              "--proto_path=${BERTH_WELL_KNOWN_PROTOS}" "--c_out=${gen}" "${proto}"
      WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
      COMMENT "Generating the messages of ${proto} in C"
      VERBATIM)
    list(APPEND sources "${gen}/${stem}.pb-c.c")
  endforeach()
  add_library(${name} STATIC ${sources})
  target_include_directories(${name} SYSTEM PUBLIC "${gen}")
  target_compile_options(${name} PRIVATE -w)
  target_link_libraries(${name} PUBLIC PkgConfig::BERTH_PROTOBUF_C)
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON C_VISIBILITY_PRESET hidden)
endfunction()

# berth_embed_descriptors(file.proto NAME)
#
# Writes NAME.h with a C array NAME into the current binary folder: the descriptors of the file and its imports, which a
# plugin without generated code gives to berth_service.descriptors so that reflection knows its service.
function(berth_embed_descriptors proto name)
  set(file "${CMAKE_CURRENT_BINARY_DIR}/${name}.h")
  get_filename_component(proto "${proto}" ABSOLUTE)
  set(protoc "$<TARGET_FILE:protobuf::protoc>")
  if(NOT TARGET protobuf::protoc)  # a project in C; protobuf-c's compiler is a protoc, too
    find_program(BERTH_PROTOC NAMES protoc protoc-c REQUIRED)
    set(protoc "${BERTH_PROTOC}")
  endif()
  add_custom_command(OUTPUT "${file}"
    COMMAND "${CMAKE_COMMAND}" -D "PROTOC=${protoc}" -D "PROTO=${proto}" -D "NAME=${name}"
            -D "OUT=${file}" -P "${BERTH_SDK_CMAKE_DIR}/embed_descriptors.cmake"
    DEPENDS "${proto}" "${BERTH_SDK_CMAKE_DIR}/embed_descriptors.cmake"
    COMMENT "Embedding the descriptors of ${proto}"
    VERBATIM)
endfunction()

# berth_test_plugin(NAME [LEVEL level] [ARGS word...])
#
# A test plugin-NAME: `berthctl plugin validate` with the conformance kit of the plugin's type, in a process per case. LEVEL is
# loads, serves or hostile (all three, the default). Needs berthctl; kits that mount need root and are skipped without it.
function(berth_test_plugin name)
  cmake_parse_arguments(arg "" "LEVEL" "ARGS" ${ARGN})
  if(NOT arg_LEVEL)
    set(arg_LEVEL hostile)
  endif()
  find_program(BERTHCTL berthctl HINTS "${BERTH_BIN_DIR}")
  if(NOT BERTHCTL)
    message(STATUS "berth_test_plugin(${name}): berthctl is not installed, the plugin is not validated")
    return()
  endif()
  add_test(NAME "plugin-${name}"
    COMMAND "${BERTHCTL}" plugin validate "$<TARGET_FILE:${name}>" --level "${arg_LEVEL}" ${arg_ARGS})
endfunction()

# berth_test_shim(TARGET [ARGS word...])
#
# A test shim-TARGET: `berthctl shim validate`, the conformance kit of programs that run containers. Needs berthctl; skipped without root.
function(berth_test_shim name)
  cmake_parse_arguments(arg "" "" "ARGS" ${ARGN})
  find_program(BERTHCTL berthctl HINTS "${BERTH_BIN_DIR}")
  if(NOT BERTHCTL)
    message(STATUS "berth_test_shim(${name}): berthctl is not installed, the shim is not validated")
    return()
  endif()
  add_test(NAME "shim-${name}" COMMAND "${BERTHCTL}" shim validate "$<TARGET_FILE:${name}>" ${arg_ARGS})
endfunction()

# berth_install_plugin(NAME [SUMMARY text])
#
# Installs it to the directory in which berthd looks, as a component of its own, `plugin-…`, which has its place in a package. The
# summary, half a sentence, is that package's.
function(berth_install_plugin name)
  cmake_parse_arguments(arg "" "SUMMARY" "" ${ARGN})
  string(REGEX REPLACE "^berth-plugin-" "" component "${name}")
  install(TARGETS ${name} LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}/berth/plugins" COMPONENT "plugin-${component}")
  set_target_properties(${name} PROPERTIES BERTH_COMPONENT "plugin-${component}" BERTH_SUMMARY "${arg_SUMMARY}")
  set_property(GLOBAL APPEND PROPERTY BERTH_INSTALLED_PLUGINS ${name})
endfunction()
