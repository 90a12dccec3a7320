# cmake -D PROTOC=… -D PROTOS=a.proto;b.proto -D ARGS=… -D STAGE=dir -D OUT=dir [-D FROM=dir] -P generate.cmake
#
# Runs protoc in FROM, or this folder, into STAGE and copies what has changed to OUT. protoc writes every file anew; without this step
# one more proto file, or one more comment, would compile everything again that includes a generated header.
if(NOT FROM)
  set(FROM "${CMAKE_CURRENT_LIST_DIR}")
endif()
file(REMOVE_RECURSE "${STAGE}")
file(MAKE_DIRECTORY "${STAGE}")
execute_process(COMMAND "${PROTOC}" -I . ${ARGS} ${PROTOS}
  WORKING_DIRECTORY "${FROM}" COMMAND_ERROR_IS_FATAL ANY)

# The field Plugin.requires is a keyword of C++20. Its accessor gets the name that protoc 22 and later give it, requires_();
# its name in the descriptor stays.
foreach(suffix .pb.h .pb.cc)
  set(introspection "${STAGE}/containerd/services/introspection/v1/introspection${suffix}")
  if(EXISTS "${introspection}")
    execute_process(COMMAND sed -i -E "s/\\brequires\\(/requires_(/g" "${introspection}"
      COMMAND_ERROR_IS_FATAL ANY)
  endif()
endforeach()

file(GLOB_RECURSE outputs RELATIVE "${STAGE}" "${STAGE}/*")
foreach(output IN LISTS outputs)
  get_filename_component(folder "${OUT}/${output}" DIRECTORY)
  file(MAKE_DIRECTORY "${folder}")
  file(COPY_FILE "${STAGE}/${output}" "${OUT}/${output}" ONLY_IF_DIFFERENT)
endforeach()
file(REMOVE_RECURSE "${STAGE}")
