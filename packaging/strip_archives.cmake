# Run by cpack on the files of all packages: static libraries without debug information, and with neither times nor owners in them.
file(GLOB_RECURSE archives "${CPACK_TEMPORARY_DIRECTORY}/*.a")
find_program(STRIP_PROGRAM strip REQUIRED)
foreach(archive IN LISTS archives)
  execute_process(COMMAND "${STRIP_PROGRAM}" --strip-debug --enable-deterministic-archives --remove-section=.comment --remove-section=.note "${archive}"
                  COMMAND_ERROR_IS_FATAL ANY)
endforeach()
