# With BERTH_RELATIVE_PATHS the folders of the build leave no trace in what is built: debug information and __FILE__ name every file
# relative to the build folder, as ccache with its CCACHE_BASEDIR (scripts/build) passes them to the compiler. So objects are the same
# in every clone, from the cache or not. No target may have the build folder itself as an include directory: ccache makes it ".", and
# "./x.h" is not "x.h".
option(BERTH_RELATIVE_PATHS "Name files relative to the build folder in all that is built" OFF)
if(BERTH_RELATIVE_PATHS)
  file(RELATIVE_PATH source "${PROJECT_BINARY_DIR}" "${PROJECT_SOURCE_DIR}")
  string(REGEX REPLACE "/$" "" source "${source}")
  # A path to the libraries of this build is gone after the installation, but not from the build id.
  set(CMAKE_BUILD_RPATH_USE_ORIGIN ON)
  # The last that matches is taken: the second is for the folder in which the compiler runs.
  add_compile_options("-ffile-prefix-map=${PROJECT_SOURCE_DIR}=${source}" "-ffile-prefix-map=${PROJECT_BINARY_DIR}=."
                      "-ffile-prefix-map=${PROJECT_BINARY_DIR}/=")
endif()
