#include "envelope_fields.h"

#include <berth/filter.h>

namespace berth::events {
namespace {

using google::protobuf::Any;
using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::MessageFactory;
using google::protobuf::Reflection;

using Path = std::span<const std::string>;

// containerd's type URLs are bare names ("containerd.events.TaskExit"), others have a host and a
// slash before them.
std::unique_ptr<Message> decode(const Any& any) {
  const std::string& url = any.type_url();
  const std::string name = url.substr(url.rfind('/') + 1);
  const Descriptor* type = DescriptorPool::generated_pool()->FindMessageTypeByName(name);
  if (type == nullptr) return nullptr;
  const Message* prototype = MessageFactory::generated_factory()->GetPrototype(type);
  if (prototype == nullptr) return nullptr;
  std::unique_ptr<Message> message(prototype->New());
  return message->ParseFromString(any.value()) ? std::move(message) : nullptr;
}

std::optional<std::string> unless_empty(std::string text) {
  if (text.empty()) return std::nullopt;
  return text;
}

std::optional<std::string> find_in(const Message& message, Path path);

std::optional<std::string> find_in_map(const Message& message, const FieldDescriptor& field,
                                       Path path) {
  const FieldDescriptor* const key = field.message_type()->map_key();
  const FieldDescriptor* const value = field.message_type()->map_value();
  if (key->cpp_type() != FieldDescriptor::CPPTYPE_STRING ||
      value->cpp_type() != FieldDescriptor::CPPTYPE_STRING) {
    return std::nullopt;
  }
  const std::string wanted = joined_field_path(path);
  const Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    const Message& entry = reflection.GetRepeatedMessage(message, &field, i);
    const Reflection& of_entry = *entry.GetReflection();
    if (of_entry.GetString(entry, key) == wanted) return of_entry.GetString(entry, value);
  }
  return std::nullopt;
}

std::optional<std::string> find_in_message(const Message& message, const FieldDescriptor& field,
                                           Path path) {
  const Reflection& reflection = *message.GetReflection();
  if (!reflection.HasField(message, &field)) return std::nullopt;
  const Message& inner = reflection.GetMessage(message, &field);
  if (const auto* any = google::protobuf::DynamicCastToGenerated<Any>(&inner)) {
    const std::unique_ptr<Message> decoded = decode(*any);
    return decoded ? find_in(*decoded, path) : std::nullopt;
  }
  return find_in(inner, path);
}

std::optional<std::string> find_in(const Message& message, Path path) {
  if (path.empty()) return std::nullopt;
  const FieldDescriptor* const field = message.GetDescriptor()->FindFieldByName(path.front());
  if (field == nullptr) return std::nullopt;
  if (field->is_map()) return find_in_map(message, *field, path.subspan(1));
  if (field->is_repeated()) return std::nullopt;
  const Reflection& reflection = *message.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      if (field->type() == FieldDescriptor::TYPE_BYTES) return std::nullopt;
      return unless_empty(reflection.GetString(message, field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.GetBool(message, field) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return unless_empty(std::string(reflection.GetEnum(message, field)->name()));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return find_in_message(message, *field, path.subspan(1));
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<std::string> EnvelopeFields::find(std::span<const std::string> path) {
  if (path.front() == "namespace") return unless_empty(envelope_.namespace_());
  if (path.front() == "topic") return unless_empty(envelope_.topic());
  if (path.front() != "event") return std::nullopt;
  if (!std::exchange(decoded_, true)) event_ = decode(envelope_.event());
  return event_ ? find_in(*event_, path.subspan(1)) : std::nullopt;
}

}  // namespace berth::events
