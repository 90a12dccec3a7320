# cmake -D PROTOC=… -D PROTO=… -D NAME=… -D OUT=… -P: the FileDescriptorSet of PROTO and its imports as a C array NAME.
get_filename_component(folder "${PROTO}" DIRECTORY)
execute_process(COMMAND "${PROTOC}" "--proto_path=${folder}" --include_imports "--descriptor_set_out=${OUT}.bin" "${PROTO}"
  COMMAND_ERROR_IS_FATAL ANY)
file(READ "${OUT}.bin" bytes HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "\\1\n" bytes "${bytes}")
file(WRITE "${OUT}" "/* The FileDescriptorSet of a .proto, for reflection. Generated. */\nstatic const unsigned char ${NAME}[] = {\n${bytes}\n};\n")
