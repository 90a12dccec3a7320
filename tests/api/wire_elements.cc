#include "wire_elements.h"

#include <google/protobuf/descriptor.pb.h>

namespace berth::api_test {
namespace {

namespace pb = google::protobuf;

std::string describe(const pb::FieldDescriptor& field) {
  std::string text = "number " + std::to_string(field.number()) + ", ";
  if (field.is_map()) {
    text += "map";
  } else if (field.is_repeated()) {
    text += field.is_packed() ? "packed repeated" : "repeated";
  } else if (field.is_required()) {
    text += "required";
  } else {
    text += field.has_presence() ? "single with presence" : "single";
  }
  text += std::string(" ") + field.type_name();
  if (field.message_type() != nullptr) text += " " + field.message_type()->full_name();
  if (field.enum_type() != nullptr) text += " " + field.enum_type()->full_name();
  if (const pb::OneofDescriptor* oneof = field.real_containing_oneof()) {
    text += ", in oneof " + oneof->name();
  }
  return text + ", JSON name " + field.json_name();
}

void add_enum(const pb::EnumDescriptor& type, WireElements* elements) {
  (*elements)["enum " + type.full_name()] = "enum";
  for (int i = 0; i < type.value_count(); ++i) {
    const pb::EnumValueDescriptor& value = *type.value(i);
    // full_name() of a value is a sibling of its enum; two enums of a file could not be told apart
    // by it.
    (*elements)["enum value " + type.full_name() + "." + value.name()] =
        "number " + std::to_string(value.number());
  }
}

void add_message(const pb::Descriptor& type, WireElements* elements) {
  (*elements)["message " + type.full_name()] = type.options().map_entry() ? "map entry" : "message";
  for (int i = 0; i < type.field_count(); ++i) {
    (*elements)["field " + type.field(i)->full_name()] = describe(*type.field(i));
  }
  for (int i = 0; i < type.real_oneof_decl_count(); ++i) {
    (*elements)["oneof " + type.oneof_decl(i)->full_name()] =
        std::to_string(type.oneof_decl(i)->field_count()) + " fields";
  }
  for (int i = 0; i < type.enum_type_count(); ++i) add_enum(*type.enum_type(i), elements);
  for (int i = 0; i < type.nested_type_count(); ++i) add_message(*type.nested_type(i), elements);
}

void add_service(const pb::ServiceDescriptor& service, WireElements* elements) {
  (*elements)["service " + service.full_name()] =
      std::to_string(service.method_count()) + " methods";
  for (int i = 0; i < service.method_count(); ++i) {
    const pb::MethodDescriptor& method = *service.method(i);
    const char* client = method.client_streaming() ? "stream of " : "";
    const char* server = method.server_streaming() ? "stream of " : "";
    (*elements)["method " + method.full_name()] = client + method.input_type()->full_name() +
                                                  " to " + server +
                                                  method.output_type()->full_name();
  }
}

}  // namespace

void add_elements(const pb::FileDescriptor& file, WireElements* elements) {
  (*elements)["package " + file.package()] = pb::FileDescriptor::SyntaxName(file.syntax());
  for (int i = 0; i < file.message_type_count(); ++i) add_message(*file.message_type(i), elements);
  for (int i = 0; i < file.enum_type_count(); ++i) add_enum(*file.enum_type(i), elements);
  for (int i = 0; i < file.service_count(); ++i) add_service(*file.service(i), elements);
  for (int i = 0; i < file.extension_count(); ++i) {
    (*elements)["extension " + file.extension(i)->full_name()] = describe(*file.extension(i));
  }
}

std::vector<std::string> differences(const WireElements& ours, const WireElements& theirs) {
  std::vector<std::string> lines;
  for (const auto& [name, properties] : theirs) {
    const auto found = ours.find(name);
    if (found == ours.end()) {
      lines.push_back(name + ": missing here; there it is: " + properties);
    } else if (found->second != properties) {
      lines.push_back(name + ": " + found->second + "; there it is: " + properties);
    }
  }
  for (const auto& [name, properties] : ours) {
    if (!theirs.contains(name)) lines.push_back(name + ": only here: " + properties);
  }
  return lines;
}

}  // namespace berth::api_test
