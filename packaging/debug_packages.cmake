# Run by cpack when the files of all packages are in place and before they are packed.
foreach(component IN LISTS CPACK_COMPONENTS_ALL)
  string(TOUPPER "${component}" upper)
  execute_process(COMMAND "${CMAKE_CURRENT_LIST_DIR}/debian/detach_debug" "${CPACK_TEMPORARY_DIRECTORY}/${component}"
                          "${CPACK_DEBIAN_${upper}_PACKAGE_NAME}" "${CPACK_PACKAGE_VERSION}" "${CPACK_PACKAGE_CONTACT}" "${CPACK_PACKAGE_DIRECTORY}"
                  COMMAND_ERROR_IS_FATAL ANY)
endforeach()
