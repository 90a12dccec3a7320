# berth_fuzz_target(NAME SOURCES file... LIBS target... [COVER target...])
#
# A libFuzzer program, in the preset `fuzz` alone. What is fuzzed has to be compiled with coverage, without which the fuzzer searches blindly: SOURCES
# are, and the libraries of COVER.
function(berth_fuzz_target name)
  if(NOT BERTH_FUZZ)
    return()
  endif()
  cmake_parse_arguments(arg "" "" "SOURCES;LIBS;COVER" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LIBS} berth_warnings)
  target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  foreach(library IN LISTS arg_COVER)
    target_compile_options(${library} PRIVATE -fsanitize=fuzzer-no-link)
  endforeach()
endfunction()
