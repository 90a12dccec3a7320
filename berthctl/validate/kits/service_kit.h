// What the cases of the kit of services have in common: the messages of any service, known from the
// descriptors that the plugin carries, or from the API that berthctl is built with.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor_database.h>
#include <google/protobuf/dynamic_message.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "validate/fixture.h"

namespace berth::ctl::validate {

/// A method whose messages are known.
struct TypedMethod {
  uint32_t number = 0;
  const bus::Method* method = nullptr;
  const google::protobuf::Descriptor* request = nullptr;
  const google::protobuf::Descriptor* response = nullptr;
};

/// How a call went, to the last byte.
struct Answer {
  bool ended = false;  // by itself, within the patience
  int32_t code = 0;
  std::string message;
  std::string details;
  std::vector<std::string> replies;  // the first hundred
};

class ServiceKit : public PluginCase {
 protected:
  /// Starts the plugin; false: the case is over, also when the messages of no method are known.
  bool start_typed();

  const std::vector<TypedMethod>& typed() const { return typed_; }
  Answer ask(uint32_t method, const std::vector<std::string>& requests,
             std::chrono::milliseconds patience = std::chrono::milliseconds(500)) const;
  /// A well-formed request, with any fields and any values in them.
  std::string request_of(const TypedMethod& method);

  /// What holds of every answer: replies are what the descriptors say, failures can be shown.
  static void expect_replies(const TypedMethod& method, const Answer& answer);
  static void expect_words(const bus::Method& method, const Answer& answer);

 private:
  void fill(google::protobuf::Message* out, int depth);
  void set_value(google::protobuf::Message* out, const google::protobuf::FieldDescriptor* field,
                 int depth);
  std::string any_text();
  const google::protobuf::ServiceDescriptor* described(const berth_service& service);

  struct Carried {
    google::protobuf::SimpleDescriptorDatabase files;
    google::protobuf::DescriptorPool pool{&files};
  };
  std::vector<std::unique_ptr<Carried>> carried_;    // descriptors of services
  google::protobuf::DynamicMessageFactory factory_;  // made of them, so it goes first
  std::vector<TypedMethod> typed_;
};

#define START_TYPED_OR_RETURN()                \
  if (!start_typed()) {                        \
    if (!skip_.empty()) GTEST_SKIP() << skip_; \
    return;                                    \
  }

}  // namespace berth::ctl::validate
