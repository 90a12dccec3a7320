# berth_install_manual(FILE COMPONENT target): a manual page that a command of this folder makes, compressed as Debian wants it, into the
# section that its name ends with. `target` builds the compressed page with everything else.
find_program(GZIP_PROGRAM gzip REQUIRED)

function(berth_install_manual file component target)
  string(REGEX REPLACE ".*\\." "man" section "${file}")
  add_custom_command(OUTPUT "${file}.gz" COMMAND "${GZIP_PROGRAM}" -9nkf "${file}" DEPENDS "${file}" VERBATIM)
  add_custom_target(${target} ALL DEPENDS "${file}.gz")
  install(FILES "${file}.gz" DESTINATION "${CMAKE_INSTALL_MANDIR}/${section}" COMPONENT ${component})
endfunction()

# berth_install_pod(POD NAME COMPONENT target): a manual page of section 1 from Perl's documentation format, for what has no command
# table. Left out where pod2man is missing.
find_program(POD2MAN_PROGRAM pod2man)

function(berth_install_pod pod name component target)
  if(NOT POD2MAN_PROGRAM)
    return()
  endif()
  set(page "${CMAKE_CURRENT_BINARY_DIR}/${name}.1")
  get_filename_component(pod "${pod}" ABSOLUTE)
  add_custom_command(OUTPUT "${page}"
    COMMAND "${POD2MAN_PROGRAM}" --utf8 --section=1 "--name=${name}" "--release=Berth ${PROJECT_VERSION}" --center=Berth "--date=${PROJECT_VERSION}" "${pod}" "${page}"
    DEPENDS "${pod}" VERBATIM)
  berth_install_manual("${page}" ${component} ${target})
endfunction()
