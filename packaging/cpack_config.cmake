# Read by cpack: what plugin packages depend on and provide, from the manifests in their files.
foreach(plugin IN LISTS CPACK_BERTH_PLUGINS)
  string(REGEX MATCH "^(.*)=(.*)$" matched "${plugin}")
  string(TOUPPER "${CMAKE_MATCH_1}" component)
  execute_process(COMMAND "${CPACK_BERTH_RELATIONS}" "${CMAKE_MATCH_2}" OUTPUT_VARIABLE substvars COMMAND_ERROR_IS_FATAL ANY)
  foreach(relation Depends Recommends Suggests Provides)
    if(NOT substvars MATCHES "berth:${relation}=([^\n]*)")
      message(FATAL_ERROR "${CPACK_BERTH_RELATIONS} tells nothing of berth:${relation} for ${plugin}")
    endif()
    string(TOUPPER "${relation}" upper)
    set(relations "${CMAKE_MATCH_1}")
    # The library is of the same build, so dpkg-shlibdeps takes it for the package's own. Code generated from messages knows their
    # layout, so that they have to be these very messages.
    if(relation STREQUAL Depends)
      string(PREPEND relations "${CPACK_BERTH_API}, ")
    endif()
    set("CPACK_DEBIAN_${component}_PACKAGE_${upper}" "${relations}")
  endforeach()
endforeach()
