#include "validate/kits/service_kit.h"

#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/unknown_field_set.h>
#include <google/protobuf/wrappers.pb.h>

#include <array>
#include <limits>

namespace berth::ctl::validate {

namespace pb = google::protobuf;
namespace {

constexpr size_t kMostReplies = 100;
constexpr int kDeepest = 3;  // messages in messages

/// A string field of proto3 is UTF-8, and the parser looks.
bool is_text(const std::string& bytes) {
  pb::BytesValue same_on_the_wire;
  same_on_the_wire.set_value(bytes);
  pb::StringValue text;
  return text.ParseFromString(same_on_the_wire.SerializeAsString());
}

/// google.rpc.Status says the code once more, as its first field.
bool is_status_of(const std::string& details, int32_t code) {
  pb::UnknownFieldSet fields;
  if (!fields.ParseFromString(details)) return false;
  for (int i = 0; i < fields.field_count(); ++i) {
    const pb::UnknownField& field = fields.field(i);
    if (field.number() == 1 && field.type() == pb::UnknownField::TYPE_VARINT) {
      return field.varint() == static_cast<uint64_t>(code);
    }
  }
  return false;
}

}  // namespace

const pb::ServiceDescriptor* ServiceKit::described(const berth_service& service) {
  const std::string name(view(service.name));
  if (service.descriptors.size != 0) {
    pb::FileDescriptorSet set;
    if (set.ParseFromArray(service.descriptors.data, static_cast<int>(service.descriptors.size))) {
      auto carried = std::make_unique<Carried>();
      for (const auto& file : set.file()) carried->files.Add(file);
      carried_.push_back(std::move(carried));
      const auto* found = carried_.back()->pool.FindServiceByName(name);
      if (found != nullptr) return found;
    }
  }
  return pb::DescriptorPool::generated_pool()->FindServiceByName(name);
}

bool ServiceKit::start_typed() {
  if (!start()) return false;
  for (uint32_t i = 0; i < plugin_->table().service_count; ++i) {
    const berth_service& service = *plugin_->table().services[i];
    const pb::ServiceDescriptor* const found = described(service);
    for (uint32_t j = 0; found != nullptr && j < service.method_count; ++j) {
      const std::string name(view(service.methods[j].name));
      const auto* const method = found->FindMethodByName(name);
      const uint32_t number = plugin_->target().resolve(found->full_name() + "/" + name);
      if (method == nullptr || number == BERTH_NO_METHOD) continue;
      typed_.push_back(
          {number, methods()[number].get(), method->input_type(), method->output_type()});
    }
  }
  if (!typed_.empty()) return true;
  skip_ = "it carries no descriptors, so nobody knows the messages of its methods";
  return false;
}

Answer ServiceKit::ask(uint32_t method, const std::vector<std::string>& requests,
                       std::chrono::milliseconds patience) const {
  size_t size = 0;
  for (const std::string& request : requests) size += request.size();
  doing("call " + methods()[method]->full_name() + " with " + std::to_string(size) + " bytes");
  const int64_t end = monotonic_now() + std::chrono::nanoseconds(patience).count();
  const auto left = [&] { return std::max<int64_t>(end - monotonic_now(), 0); };
  Answer out;
  ClientCall call = ClientCall::open(plugin_->target(), method, Context());
  for (const std::string& request : requests) {
    (void)call.send(Message::owning(std::string(request)), left());
  }
  call.half_close();
  Message message;
  int32_t got = BERTH_OK;
  while ((got = call.recv(&message, left())) == BERTH_OK) {
    const auto bytes = message.bytes();
    if (out.replies.size() < kMostReplies) out.replies.emplace_back(bytes.begin(), bytes.end());
  }
  out.ended = got == BERTH_END;
  if (!out.ended) call.cancel();
  berth_status status{};
  if (detail::host->client_status(call.raw(), &status) != 0) {
    out.code = status.code;
    out.message = view(status.message);
    out.details = view(status.details);
  }
  return out;
}

std::string ServiceKit::any_text() {
  static const std::array<std::string, 10> texts = {"",
                                                    "a",
                                                    "name of something",
                                                    "x/y-z.1",
                                                    "\xc3\xa4\xe2\x9a\x93",
                                                    "default",
                                                    "*",
                                                    "a==b,c!=d",
                                                    std::string(5000, 'l'),
                                                    "sha256:" + std::string(64, 'a')};
  return texts[random_() % texts.size()];
}

void ServiceKit::set_value(pb::Message* out, const pb::FieldDescriptor* field, int depth) {
  static constexpr std::array<int64_t, 6> kNumbers = {
      0, 1, -1, 4096, std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()};
  const pb::Reflection& fields = *out->GetReflection();
  const int64_t number = kNumbers[random_() % kNumbers.size()];
  const bool repeated = field->is_repeated();
#define BERTH_SET(kind, value) \
  repeated ? fields.Add##kind(out, field, value) : fields.Set##kind(out, field, value)
  switch (field->cpp_type()) {
    case pb::FieldDescriptor::CPPTYPE_INT32:
      return BERTH_SET(Int32, static_cast<int32_t>(number));
    case pb::FieldDescriptor::CPPTYPE_INT64:
      return BERTH_SET(Int64, number);
    case pb::FieldDescriptor::CPPTYPE_UINT32:
      return BERTH_SET(UInt32, static_cast<uint32_t>(number));
    case pb::FieldDescriptor::CPPTYPE_UINT64:
      return BERTH_SET(UInt64, static_cast<uint64_t>(number));
    case pb::FieldDescriptor::CPPTYPE_DOUBLE:
      return BERTH_SET(Double, static_cast<double>(number));
    case pb::FieldDescriptor::CPPTYPE_FLOAT:
      return BERTH_SET(Float, static_cast<float>(number));
    case pb::FieldDescriptor::CPPTYPE_BOOL:
      return BERTH_SET(Bool, number != 0);
    case pb::FieldDescriptor::CPPTYPE_ENUM:
      return BERTH_SET(EnumValue, static_cast<int>(random_() % 6));
    case pb::FieldDescriptor::CPPTYPE_STRING:
      return BERTH_SET(String, any_text());
    case pb::FieldDescriptor::CPPTYPE_MESSAGE:
      return fill(
          repeated ? fields.AddMessage(out, field) : fields.MutableMessage(out, field, &factory_),
          depth + 1);
  }
#undef BERTH_SET
}

void ServiceKit::fill(pb::Message* out, int depth) {
  if (depth > kDeepest) return;
  for (int i = 0; i < out->GetDescriptor()->field_count(); ++i) {
    const pb::FieldDescriptor* const field = out->GetDescriptor()->field(i);
    const uint64_t count = field->is_repeated() ? random_() % 3 : random_() % 2;
    for (uint64_t j = 0; j < count; ++j) set_value(out, field, depth);
  }
}

std::string ServiceKit::request_of(const TypedMethod& method) {
  const std::unique_ptr<pb::Message> message(factory_.GetPrototype(method.request)->New());
  fill(message.get(), 0);
  return message->SerializeAsString();
}

void ServiceKit::expect_replies(const TypedMethod& method, const Answer& answer) {
  const std::string name = method.method->full_name();
  pb::DynamicMessageFactory factory;
  const std::unique_ptr<pb::Message> message(factory.GetPrototype(method.response)->New());
  for (const std::string& reply : answer.replies) {
    ASSERT_TRUE(message->ParseFromString(reply))
        << name << " answers bytes that are no " << method.response->full_name();
    EXPECT_TRUE(message->GetReflection()->GetUnknownFields(*message).empty())
        << name << " answers with fields that " << method.response->full_name() << " has not";
  }
}

void ServiceKit::expect_words(const bus::Method& method, const Answer& answer) {
  EXPECT_TRUE(is_text(answer.message))
      << method.full_name() << " fails for a reason that is not UTF-8";
  if (answer.details.empty()) return;
  EXPECT_TRUE(is_status_of(answer.details, answer.code))
      << method.full_name() << ": the details of its failure are no google.rpc.Status of code "
      << answer.code;
}

}  // namespace berth::ctl::validate
