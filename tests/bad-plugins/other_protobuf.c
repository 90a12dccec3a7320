// A libprotobuf-lite of another release, as far as the loader sees: its name.
const char bad_other_protobuf = 1;
