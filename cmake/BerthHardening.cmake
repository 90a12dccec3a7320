# The hardening flags of the distribution, as dpkg-buildflags knows them: a newer Debian brings more of them without a change here.
#
# BERTH_HARDENING, on in preset package, compiles and links everything with them, bindnow included. BERTH_HARDENING_CXX_FLAGS is there with
# and without it: what has the same objects in all presets takes it always. Position-independent programs are Debian's default.
option(BERTH_HARDENING "Compile and link with the distribution's hardening flags (dpkg-buildflags)" OFF)
find_program(BERTH_DPKG_BUILDFLAGS dpkg-buildflags)
if(BERTH_HARDENING AND NOT BERTH_DPKG_BUILDFLAGS)
  message(FATAL_ERROR "BERTH_HARDENING asks dpkg-buildflags for flags, which is not installed (package dpkg-dev)")
endif()

# Hardening alone: optimization is the build type's, names of files are BerthRelativePaths'.
function(berth_distribution_flags variable result)
  execute_process(COMMAND "${CMAKE_COMMAND}" -E env DEB_BUILD_OPTIONS= "DEB_BUILD_MAINT_OPTIONS=hardening=+all reproducible=-all optimize=-all"
                          "DEB_CFLAGS_MAINT_STRIP=-g -O2" "DEB_CXXFLAGS_MAINT_STRIP=-g -O2" "${BERTH_DPKG_BUILDFLAGS}" --get "${variable}"
                  OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  set(${result} "${flags}" PARENT_SCOPE)
endfunction()

set(BERTH_HARDENING_CXX_FLAGS "")
if(BERTH_DPKG_BUILDFLAGS)
  foreach(variable CPPFLAGS CFLAGS CXXFLAGS LDFLAGS)
    berth_distribution_flags(${variable} hardening_${variable})
  endforeach()
  set(BERTH_HARDENING_CXX_FLAGS " ${hardening_CPPFLAGS} ${hardening_CXXFLAGS}")
endif()
if(BERTH_HARDENING)
  string(APPEND CMAKE_C_FLAGS " ${hardening_CPPFLAGS} ${hardening_CFLAGS}")
  string(APPEND CMAKE_CXX_FLAGS "${BERTH_HARDENING_CXX_FLAGS}")
  foreach(kind EXE SHARED MODULE)
    string(APPEND CMAKE_${kind}_LINKER_FLAGS " ${hardening_LDFLAGS}")
  endforeach()
endif()
