# berth_install_manual(FILE COMPONENT target): a manual page that a command of this folder makes, compressed as Debian wants it, into the
# section that its name ends with. `target` builds the compressed page with everything else.
find_program(GZIP_PROGRAM gzip REQUIRED)

function(berth_install_manual file component target)
  string(REGEX REPLACE ".*\\." "man" section "${file}")
  add_custom_command(OUTPUT "${file}.gz" COMMAND "${GZIP_PROGRAM}" -9nkf "${file}" DEPENDS "${file}" VERBATIM)
  add_custom_target(${target} ALL DEPENDS "${file}.gz")
  install(FILES "${file}.gz" DESTINATION "${CMAKE_INSTALL_MANDIR}/${section}" COMPONENT ${component})
endfunction()
