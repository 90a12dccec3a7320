# Generated messages are of two kinds, with classes of the same names: for the full runtime, and for the lite one, which Berth::api
# of the installed SDK has. A target that would link both is refused when the build is generated.
set_target_properties(protobuf::libprotobuf PROPERTIES INTERFACE_BERTH_MESSAGES full)
set_property(TARGET protobuf::libprotobuf APPEND PROPERTY COMPATIBLE_INTERFACE_STRING BERTH_MESSAGES)
