// protoc-gen-berth: turns each protobuf service of a .proto file into an abstract server class and a typed client on top
// of berth/server.h and berth/client.h. `x.proto` gives `x.berth.h`, header-only, next to `x.pb.h`.
#include <google/protobuf/compiler/code_generator.h>
#include <google/protobuf/compiler/plugin.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/io/printer.h>
#include <google/protobuf/io/zero_copy_stream.h>

#include <map>
#include <memory>
#include <set>
#include <string>

namespace {

namespace pb = google::protobuf;
using Variables = std::map<std::string, std::string>;

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string cpp_type(const pb::Descriptor* type) {
  return "::" + replaced(std::string(type->full_name()), ".", "::");
}

std::string header_stem(const pb::FileDescriptor* file) {
  const std::string& name = file->name();
  return name.substr(0, name.rfind(".proto"));
}

/// The file and all that it imports, imports first, as reflection clients need it.
void add_with_imports(const pb::FileDescriptor* file, std::set<const pb::FileDescriptor*>* seen,
                      pb::FileDescriptorSet* out) {
  if (!seen->insert(file).second) return;
  for (int i = 0; i < file->dependency_count(); ++i) add_with_imports(file->dependency(i), seen, out);
  file->CopyTo(out->add_file());
}

void print_descriptors(const pb::FileDescriptor* file, pb::io::Printer* out) {
  pb::FileDescriptorSet set;
  std::set<const pb::FileDescriptor*> seen;
  add_with_imports(file, &seen, &set);
  const std::string bytes = set.SerializeAsString();
  out->Print("/// The FileDescriptorSet of $file$ and its imports, for reflection.\n"
             "inline constexpr unsigned char k$name$[] = {",
             "file", file->name(), "name", "FileDescriptors");
  std::string line;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i % 24 == 0) line += "\n    ";
    line += std::to_string(static_cast<unsigned char>(bytes[i])) + ",";
  }
  out->PrintRaw(line);
  out->Print("};\n\n");
}

Variables variables_of(const pb::MethodDescriptor* method) {
  return {{"name", method->name()},
          {"index", std::to_string(method->index())},
          {"full", std::string(method->service()->full_name()) + "/" + std::string(method->name())},
          {"request", cpp_type(method->input_type())},
          {"response", cpp_type(method->output_type())}};
}

void print_server_method(const pb::MethodDescriptor* method, pb::io::Printer* out) {
  const Variables v = variables_of(method);
  const bool requests = method->client_streaming();
  const bool responses = method->server_streaming();
  if (requests && responses) {
    out->Print(v,
               "  virtual ::berth::Status $name$(::berth::Context&, ::berth::ServerStream<$request$, $response$>&) {\n"
               "    return ::berth::unimplemented(\"$full$ is not implemented\");\n  }\n"
               "  virtual void $name$Call(::berth::ServerCall call) {\n"
               "    ::berth::detail::serve_stream<$request$, $response$>(std::move(call), [this](auto& context, auto& stream) {\n"
               "      return $name$(context, stream);\n    });\n  }\n");
  } else if (requests) {
    out->Print(v,
               "  virtual ::berth::Status $name$(::berth::Context&, ::berth::ServerStream<$request$, $response$>&, $response$*) {\n"
               "    return ::berth::unimplemented(\"$full$ is not implemented\");\n  }\n"
               "  virtual void $name$Call(::berth::ServerCall call) {\n"
               "    ::berth::detail::serve_client_stream<$request$, $response$>(std::move(call), [this](auto& context, auto& stream, auto* response) {\n"
               "      return $name$(context, stream, response);\n    });\n  }\n");
  } else if (responses) {
    out->Print(v,
               "  virtual ::berth::Status $name$(::berth::Context&, const $request$&, ::berth::ServerWriter<$response$>&) {\n"
               "    return ::berth::unimplemented(\"$full$ is not implemented\");\n  }\n"
               "  virtual void $name$Call(::berth::ServerCall call) {\n"
               "    ::berth::detail::serve_server_stream<$request$, $response$>(std::move(call), [this](auto& context, const auto& request, auto& writer) {\n"
               "      return $name$(context, request, writer);\n    });\n  }\n");
  } else {
    out->Print(v,
               "  virtual ::berth::Status $name$(::berth::Context&, const $request$&, $response$*) {\n"
               "    return ::berth::unimplemented(\"$full$ is not implemented\");\n  }\n"
               "  virtual void $name$Call(::berth::ServerCall call) {\n"
               "    ::berth::detail::serve_unary<$request$, $response$>(std::move(call), [this](auto& context, const auto& request, auto* response) {\n"
               "      return $name$(context, request, response);\n    });\n  }\n");
  }
}

void print_server(const pb::ServiceDescriptor* service, pb::io::Printer* out) {
  const Variables v = {{"service", service->name()}, {"full", service->full_name()},
                       {"count", std::to_string(service->method_count())}};
  out->Print(v,
             "/// Server side of $full$. Override a method to implement it; override its …Call to take the whole call and\n"
             "/// finish it later or forward it.\n"
             "class $service$Service : public ::berth::Service {\n public:\n"
             "  static constexpr std::string_view kServiceName = \"$full$\";\n");
  for (int i = 0; i < service->method_count(); ++i) print_server_method(service->method(i), out);
  out->Print("  void handle(uint32_t method, ::berth::ServerCall call) override {\n    switch (method) {\n");
  for (int i = 0; i < service->method_count(); ++i) {
    out->Print(variables_of(service->method(i)),
               "      case $index$: return $name$Call(std::move(call));\n");
  }
  out->Print("      default: return call.finish(::berth::unimplemented(\"no such method\"));\n    }\n  }\n"
             "  /// The service as the ABI states it.\n"
             "  static const berth_service& service() {\n");
  if (service->method_count() == 0) {
    out->Print("    static const berth_method* const methods = nullptr;\n");
  } else {
    out->Print("    static const berth_method methods[] = {\n");
    for (int i = 0; i < service->method_count(); ++i) {
      const pb::MethodDescriptor* method = service->method(i);
      const int flags = (method->client_streaming() ? 1 : 0) | (method->server_streaming() ? 2 : 0);
      out->Print("        {::berth::str(\"$name$\"), $flags$, 0},\n", "name", method->name(), "flags",
                 std::to_string(flags));
    }
    out->Print("    };\n");
  }
  out->Print(v,
             "    static const berth_service table = {sizeof(berth_service), $count$, ::berth::str(kServiceName), methods,\n"
             "                                        {kFileDescriptors, sizeof kFileDescriptors, nullptr, nullptr, 0}};\n"
             "    return table;\n  }\n};\n\n");
}

void print_client_method(const pb::MethodDescriptor* method, pb::io::Printer* out) {
  const Variables v = variables_of(method);
  if (method->client_streaming()) {
    out->Print(v,
               "  ::berth::ClientStream<$request$, $response$> $name$(const ::berth::Context& context) const {\n"
               "    return ::berth::ClientStream<$request$, $response$>(::berth::ClientCall::open(target_, methods_[$index$], context));\n  }\n");
  } else if (method->server_streaming()) {
    out->Print(v,
               "  ::berth::ClientReader<$response$> $name$(const ::berth::Context& context, const $request$& request) const {\n"
               "    return ::berth::ClientReader<$response$>(::berth::detail::open_with(target_, methods_[$index$], context, request));\n  }\n");
  } else {
    out->Print(v,
               "  ::berth::Status $name$(const ::berth::Context& context, const $request$& request, $response$* response) const {\n"
               "    return ::berth::detail::unary(target_, methods_[$index$], \"$full$\", context, request, response);\n  }\n"
               "  void $name$Async(const ::berth::Context& context, const $request$& request, std::function<void(::berth::Status, $response$)> done) const {\n"
               "    ::berth::detail::AsyncUnary<$response$>::begin(target_, methods_[$index$], context, request, std::move(done));\n  }\n");
  }
}

void print_client(const pb::ServiceDescriptor* service, pb::io::Printer* out) {
  const Variables v = {{"service", service->name()}, {"full", service->full_name()},
                       {"count", std::to_string(service->method_count() == 0 ? 1 : service->method_count())}};
  out->Print(v,
             "/// Client side of $full$. A value; any thread. Not connected, it answers UNAVAILABLE.\n"
             "class $service$Client {\n public:\n"
             "  static constexpr std::string_view kServiceName = \"$full$\";\n"
             "  enum Method : uint32_t {\n");
  for (int i = 0; i < service->method_count(); ++i) {
    out->Print(variables_of(service->method(i)), "    k$name$ = $index$,\n");
  }
  out->Print(v,
             "  };\n"
             "  $service$Client() = default;\n"
             "  explicit $service$Client(::berth::Target target) : target_(target) {\n");
  for (int i = 0; i < service->method_count(); ++i) {
    out->Print(variables_of(service->method(i)), "    methods_[$index$] = target_.resolve(\"$full$\");\n");
  }
  out->Print("  }\n");
  for (int i = 0; i < service->method_count(); ++i) print_client_method(service->method(i), out);
  out->Print(v,
             "  /// Hands a call that arrived at this plugin to this client's plugin, request unchanged.\n"
             "  void forward(::berth::ServerCall call, Method method, const ::berth::Context& context = {}) const {\n"
             "    call.forward(target_, methods_[method], context);\n  }\n"
             "  template <typename Request>\n"
             "  void forward(::berth::ServerCall call, Method method, const Request& request, const ::berth::Context& context) const {\n"
             "    call.forward(target_, methods_[method], request, context);\n  }\n"
             "  ::berth::Target target() const { return target_; }\n"
             "  /// The number of a method at this client's plugin, for ::berth::ClientCall::open.\n"
             "  uint32_t method(Method method) const { return methods_[method]; }\n"
             "  explicit operator bool() const { return static_cast<bool>(target_); }\n\n"
             " private:\n"
             "  ::berth::Target target_;\n"
             "  uint32_t methods_[$count$] = {};\n};\n\n");
}

class BerthGenerator final : public pb::compiler::CodeGenerator {
 public:
  uint64_t GetSupportedFeatures() const override { return FEATURE_PROTO3_OPTIONAL; }

  bool Generate(const pb::FileDescriptor* file, const std::string&, pb::compiler::GeneratorContext* context,
                std::string*) const override {
    const std::string stem = header_stem(file);
    std::unique_ptr<pb::io::ZeroCopyOutputStream> stream(context->Open(stem + ".berth.h"));
    pb::io::Printer out(stream.get(), '$');
    out.Print("// Generated by protoc-gen-berth from $file$. Do not edit.\n#pragma once\n\n"
              "#include <berth/server.h>\n\n#include \"$stem$.pb.h\"\n\n",
              "file", file->name(), "stem", stem);
    if (file->service_count() == 0) return true;
    const std::string ns = replaced(std::string(file->package()), ".", "::");
    if (!ns.empty()) out.Print("namespace $ns$ {\n\n", "ns", ns);
    // A package may span files; the file's own namespace keeps its descriptors apart.
    std::string scope = "file_" + stem;
    for (char& c : scope) {
      if (isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
    }
    out.Print("inline namespace $scope$ {\n\n", "scope", scope);
    print_descriptors(file, &out);
    for (int i = 0; i < file->service_count(); ++i) {
      print_server(file->service(i), &out);
      print_client(file->service(i), &out);
    }
    out.Print("}  // namespace $scope$\n", "scope", scope);
    if (!ns.empty()) out.Print("}  // namespace $ns$\n", "ns", ns);
    return true;
  }
};

}  // namespace

int main(int argc, char* argv[]) {
  const BerthGenerator generator;
  return pb::compiler::PluginMain(argc, argv, &generator);
}
