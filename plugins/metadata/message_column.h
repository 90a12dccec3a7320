// Protobuf messages as columns. Empty: there is none.
#pragma once

#include <berth/status.h>
#include <google/protobuf/any.pb.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

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

/// Size on the wire of an embedded message that has these bytes.
inline size_t message_field_size(int number, std::string_view bytes) {
  using Wire = google::protobuf::internal::WireFormatLite;
  return Wire::TagSize(number, Wire::TYPE_MESSAGE) + Wire::LengthDelimitedSize(bytes.size());
}

/// Appends what comes before the bytes of an embedded message of `size` bytes.
inline void append_message_header(int number, size_t size, std::string* out) {
  using google::protobuf::io::CodedOutputStream;
  using Wire = google::protobuf::internal::WireFormatLite;
  uint8_t header[20];
  uint8_t* end = CodedOutputStream::WriteVarint32ToArray(
      Wire::MakeTag(number, Wire::WIRETYPE_LENGTH_DELIMITED), header);
  end = CodedOutputStream::WriteVarint64ToArray(size, end);
  out->append(reinterpret_cast<const char*>(header), static_cast<size_t>(end - header));
}

inline void append_message(int number, std::string_view bytes, std::string* out) {
  append_message_header(number, bytes.size(), out);
  out->append(bytes);
}

}  // namespace berth::metadata
