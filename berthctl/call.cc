// berthctl call: any method of a running daemon, its messages as JSON. What they look like the
// daemon says itself, by reflection, so it works for services that nobody here has heard of.
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/descriptor_database.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/util/json_util.h>

#include <cstdio>
#include <memory>

#include "command.h"
#include "daemon_client.h"
#include "grpc/reflection/v1/reflection.pb.h"

namespace berth::ctl {
namespace {

namespace pb = google::protobuf;
using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;

constexpr const char* kReflection = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

struct Options {
  std::string method;
  std::string request = "{}";
  std::string address;
  std::string ns;
  int64_t timeout_s = 10;
};

/// The descriptors that a daemon gives, on demand.
class ReflectedDatabase final : public pb::DescriptorDatabase {
 public:
  explicit ReflectedDatabase(std::string address) : address_(std::move(address)) {}

  bool FindFileByName(const std::string& name, pb::FileDescriptorProto* out) override {
    if (known_.FindFileByName(name, out)) return true;
    ServerReflectionRequest question;
    question.set_file_by_filename(name);
    return ask(question) && known_.FindFileByName(name, out);
  }
  bool FindFileContainingSymbol(const std::string& symbol, pb::FileDescriptorProto* out) override {
    if (known_.FindFileContainingSymbol(symbol, out)) return true;
    ServerReflectionRequest question;
    question.set_file_containing_symbol(symbol);
    return ask(question) && known_.FindFileContainingSymbol(symbol, out);
  }
  bool FindFileContainingExtension(const std::string&, int, pb::FileDescriptorProto*) override {
    return false;
  }
  const Status& failure() const { return failure_; }

 private:
  bool ask(const ServerReflectionRequest& question) {
    const Status asked = call(address_, kReflection, question.SerializeAsString(), {},
                              [this](const std::string& bytes) { take(bytes); });
    if (!asked.ok()) failure_ = asked;
    return asked.ok();
  }
  void take(const std::string& bytes) {
    ServerReflectionResponse answer;
    if (!answer.ParseFromString(bytes)) return;
    for (const std::string& one : answer.file_descriptor_response().file_descriptor_proto()) {
      pb::FileDescriptorProto file, there;
      if (!file.ParseFromString(one) || known_.FindFileByName(file.name(), &there)) continue;
      (void)known_.Add(file);
    }
  }

  const std::string address_;
  pb::SimpleDescriptorDatabase known_;
  Status failure_;
};

Status call_as_json(const Options& options, const std::string& address) {
  const size_t slash = options.method.find('/');
  if (slash == std::string::npos) {
    return invalid_argument("call " + options.method +
                            ": give the method as package.Service/Method");
  }
  ReflectedDatabase database(address);
  pb::DescriptorPool pool(&database);
  std::string symbol = options.method;
  symbol[slash] = '.';
  const pb::ServiceDescriptor* service = pool.FindServiceByName(options.method.substr(0, slash));
  if (!database.failure().ok()) {
    return database.failure().with_context("ask the daemon at " + address + " about " +
                                           options.method);
  }
  const pb::MethodDescriptor* method = pool.FindMethodByName(symbol);
  if (method == nullptr) {
    // The daemon knows best why a service is not there, and says so to whoever calls it.
    const Status told = call(address, options.method, {}, {}, [](const std::string&) {});
    if (service == nullptr && !told.ok()) return told.with_context("call " + options.method);
    return unimplemented("call " + options.method + ": the daemon's reflection does not know it");
  }
  if (method->client_streaming()) {
    return unimplemented("call " + options.method + ": it takes a stream of requests");
  }
  pb::DynamicMessageFactory factory(&pool);
  const std::unique_ptr<pb::Message> request(factory.GetPrototype(method->input_type())->New());
  const auto parsed = pb::util::JsonStringToMessage(options.request, request.get());
  if (!parsed.ok()) {
    return invalid_argument("call " + options.method + ": the request is no JSON of a " +
                            method->input_type()->full_name() + ": " +
                            std::string(parsed.message()));
  }
  CallOptions how;
  how.timeout = std::chrono::seconds(options.timeout_s);
  if (!options.ns.empty()) how.headers["containerd-namespace"] = options.ns;
  const std::unique_ptr<pb::Message> response(factory.GetPrototype(method->output_type())->New());
  return call(address, options.method, request->SerializeAsString(), how,
              [&](const std::string& bytes) {
                pb::util::JsonPrintOptions print;
                print.preserve_proto_field_names = true;
                std::string json;
                if (!response->ParseFromString(bytes) ||
                    !pb::util::MessageToJsonString(*response, &json, print).ok()) {
                  json = std::to_string(bytes.size()) + " bytes that are no " +
                         method->output_type()->full_name();
                }
                std::printf("%s\n", json.c_str());
              });
}

int run(const Options& options) {
  const auto address =
      options.address.empty() ? default_address() : Result<std::string>(options.address);
  const Status status = address.ok() ? call_as_json(options, *address) : address.status();
  if (status.ok()) return 0;
  std::fprintf(stderr, "berthctl: %s\n", status.to_string().c_str());
  return kNo;
}

}  // namespace

void add_call(CLI::App& app, Action* action) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("call", "call a method of the running daemon, messages as JSON");
  command->add_option("method", options->method, "package.Service/Method")->required();
  command->add_option("request", options->request, "the request as JSON (default: {})");
  command->add_option("--address,-a", options->address,
                      "the daemon's socket (default: that of the configuration)");
  command->add_option("--namespace,-n", options->ns, "the namespace to call in");
  command->add_option("--timeout", options->timeout_s, "seconds to wait (default: 10)")
      ->check(CLI::Range(kShortestTimeout, kLongestTimeout));
  on_chosen(command, action, options, run);
}

}  // namespace berth::ctl
