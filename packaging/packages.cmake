# berth_package(COMPONENT PACKAGE [key value...]): the Debian package that an install component becomes.
#
# SUMMARY and DESCRIPTION are for people. DEPENDS, RECOMMENDS, SUGGESTS and PROVIDES are what its files do not tell; libraries are
# found by dpkg-shlibdeps, and what plugins need of one another by berth-plugin-relations (cpack_config.cmake.in).
set(BERTH_VERSION_RELATION "(= ${PROJECT_VERSION})")
set(CPACK_COMPONENTS_ALL "")

function(berth_package component package)
  cmake_parse_arguments(arg "" "SUMMARY;DESCRIPTION;DEPENDS;RECOMMENDS;SUGGESTS;PROVIDES;SECTION" "CONTROL" ${ARGN})
  string(TOUPPER "${component}" upper)
  set("CPACK_COMPONENT_${upper}_DESCRIPTION" "${arg_SUMMARY}\n${arg_DESCRIPTION}" PARENT_SCOPE)
  set("CPACK_DEBIAN_${upper}_PACKAGE_NAME" "${package}" PARENT_SCOPE)
  set("CPACK_DEBIAN_${upper}_FILE_NAME" DEB-DEFAULT PARENT_SCOPE)
  foreach(relation DEPENDS RECOMMENDS SUGGESTS PROVIDES)
    set("CPACK_DEBIAN_${upper}_PACKAGE_${relation}" "${arg_${relation}}" PARENT_SCOPE)
  endforeach()
  set("CPACK_DEBIAN_${upper}_PACKAGE_SECTION" "${arg_SECTION}" PARENT_SCOPE)
  if(NOT arg_SECTION)
    set("CPACK_DEBIAN_${upper}_PACKAGE_SECTION" admin PARENT_SCOPE)
  endif()
  if(arg_CONTROL)
    set("CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_EXTRA" "${arg_CONTROL}" PARENT_SCOPE)
    set("CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_STRICT_PERMISSION" ON PARENT_SCOPE)
  endif()
  set(CPACK_COMPONENTS_ALL ${CPACK_COMPONENTS_ALL} "${component}" PARENT_SCOPE)
  set(documents "${PROJECT_BINARY_DIR}/packaging/doc")
  install(FILES "${CMAKE_CURRENT_SOURCE_DIR}/debian/copyright" "${documents}/changelog.gz"
          DESTINATION "share/doc/${package}" COMPONENT "${component}")
endfunction()

set(documents "${CMAKE_CURRENT_BINARY_DIR}/doc")
configure_file(debian/changelog.in "${documents}/changelog" @ONLY)
find_program(GZIP_PROGRAM gzip REQUIRED)
execute_process(COMMAND "${GZIP_PROGRAM}" -9nkf "${documents}/changelog" COMMAND_ERROR_IS_FATAL ANY)

# The ABI that this host speaks is in one place only.
file(STRINGS "${PROJECT_SOURCE_DIR}/plugin-sdk/include/berth/abi.h" abi_lines REGEX "#define BERTH_ABI_(MAJOR|MINOR) ")
string(REGEX REPLACE ".*BERTH_ABI_MAJOR ([0-9]+).*" "\\1" abi_major "${abi_lines}")
string(REGEX REPLACE ".*BERTH_ABI_MINOR ([0-9]+).*" "\\1" abi_minor "${abi_lines}")

set(BERTH_PLUGIN_DIR "${CMAKE_INSTALL_FULL_LIBDIR}/berth/plugins" CACHE STRING "Where berthd looks for plugins")
set(control "${CMAKE_CURRENT_BINARY_DIR}/control")
configure_file(debian/berth.triggers.in "${control}/triggers" @ONLY)
file(WRITE "${control}/conffiles" "/etc/berth/config.toml\n")
file(WRITE "${control}/api/triggers" "activate-noawait ldconfig\n")
set(host_control "${control}/triggers" "${control}/conffiles")
foreach(script postinst prerm postrm)
  configure_file("debian/berth.${script}" "${control}/${script}" COPYONLY
                 FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
  list(APPEND host_control "${control}/${script}")
endforeach()
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")  # elsewhere nobody watches over changes that an administrator has made to it
  install(FILES debian/config.toml DESTINATION /etc/berth COMPONENT host)
endif()

# Who links the library knows the layout of its classes, so that it wants the very messages, in whatever version of the package.
get_target_property(api berth_api INTERFACE_BERTH_API_MESSAGES)
string(REGEX REPLACE "^berth_api_messages_" "libberth-api0-messages-" api "${api}")
berth_package(host berth
  SUMMARY "container daemon made of plugins: the host"
  DESCRIPTION "The daemon berthd loads plugins, connects them and serves their services on
a socket. By itself it knows of no containers: berth-plugins-standard is the
usual set."
  DEPENDS "${api}, adduser"
  RECOMMENDS "berth-plugins-standard"
  PROVIDES "berth-abi-${abi_major} (= ${abi_major}.${abi_minor})"
  CONTROL ${host_control})
berth_package(api libberth-api0
  SUMMARY "container daemon made of plugins: messages of its API"
  DESCRIPTION "The generated messages of containerd's API, shared by the daemon and its
plugins."
  PROVIDES "${api}"
  CONTROL "${control}/api/triggers"
  SECTION libs)
berth_package(shim berth-shim
  SUMMARY "container daemon made of plugins: the shim"
  DESCRIPTION "A small containerd-shim-runc-v2 in one static program. It looks after a
container while daemons come and go."
  RECOMMENDS "runc | crun")
berth_package(ctl berthctl
  SUMMARY "container daemon made of plugins: looking at plugins, and beginning new ones"
  DESCRIPTION "What a plugin file says of itself, which plugins need one another, and why
one is not there; templates for plugins in several languages."
  DEPENDS "${api}"
  SUGGESTS "berth-dev")
berth_package(dev berth-dev
  SUMMARY "container daemon made of plugins: headers and tools for plugin authors"
  DESCRIPTION "What a plugin is built with: the ABI, the C++ facade, the generator of
services, CMake functions, and dh_berth for packages."
  DEPENDS "libprotobuf-dev, protobuf-compiler"
  RECOMMENDS "cmake, pkg-config, libre2-dev, libsqlite3-dev, libssl-dev"
  PROVIDES "dh-sequence-berth"
  SECTION libdevel)
set(standard "berth ${BERTH_VERSION_RELATION}, berth-shim")
foreach(name content metadata gc events services diff-walking runtime-runc snapshot-overlay)
  string(APPEND standard ", berth-plugin-${name}")
endforeach()
berth_package(standard berth-plugins-standard
  SUMMARY "container daemon made of plugins: the usual set"
  DESCRIPTION "Everything that a client of containerd expects, on overlayfs and runc."
  DEPENDS "${standard}"
  RECOMMENDS "runc | crun"
  SUGGESTS "berth-plugin-snapshot-btrfs, berth-plugin-snapshot-native"
  SECTION metapackages)

foreach(overrides shim:berth-shim api:libberth-api0)
  string(REGEX MATCH "^(.*):(.*)$" matched "${overrides}")
  install(FILES "debian/${CMAKE_MATCH_2}.lintian-overrides" DESTINATION share/lintian/overrides RENAME "${CMAKE_MATCH_2}" COMPONENT "${CMAKE_MATCH_1}")
endforeach()

# One for each plugin that is built; its folder says what it is.
get_property(plugins GLOBAL PROPERTY BERTH_INSTALLED_PLUGINS)
set(CPACK_BERTH_PLUGINS "")
set(CPACK_BERTH_API "${api}")
foreach(plugin IN LISTS plugins)
  get_target_property(component ${plugin} BERTH_COMPONENT)
  get_target_property(summary ${plugin} BERTH_SUMMARY)
  get_target_property(folder ${plugin} LIBRARY_OUTPUT_DIRECTORY)
  berth_package("${component}" "${plugin}"
    SUMMARY "plugin of berthd: ${summary}"
    DESCRIPTION "A plugin of berthd, which loads it after a restart.")
  list(APPEND CPACK_BERTH_PLUGINS "${component}=${folder}/${plugin}.so")
endforeach()
set(CPACK_BERTH_RELATIONS "${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/berth-plugin-relations")

set(CPACK_GENERATOR DEB)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_PACKAGE_NAME berth)
set(CPACK_PACKAGE_CONTACT "The Berth authors <maintainers@berth.example>")
set(CPACK_PACKAGE_DIRECTORY "${PROJECT_BINARY_DIR}/packages")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_SET_DESTDIR OFF)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY "=")
# Not by CPACK_DEBIAN_DEBUGINFO_PACKAGE, whose packages name the folders of the build.
set(CPACK_PRE_BUILD_SCRIPTS "${CMAKE_CURRENT_SOURCE_DIR}/debug_packages.cmake")
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS "${PROJECT_BINARY_DIR}/api")
set(CPACK_PROJECT_CONFIG_FILE "${CMAKE_CURRENT_SOURCE_DIR}/cpack_config.cmake")
set(CPACK_THREADS 2)  # whatever the machine has: one thread writes other bytes than several
include(CPack)
