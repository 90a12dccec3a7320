// Protobuf messages as columns. Empty: there is none.
#pragma once

#include <berth/status.h>
#include <google/protobuf/any.pb.h>

#include <string>
#include <string_view>

namespace berth::metadata {

template <typename T>
Status decode_message(std::string_view bytes, T* out) {
  if (out->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return {};
  return data_loss("a " + out->GetTypeName() + " of " + std::to_string(bytes.size()) +
                   " bytes in the database is damaged");
}

inline std::string encode_any(bool set, const google::protobuf::Any& any) {
  return set ? any.SerializeAsString() : std::string();
}

}  // namespace berth::metadata
