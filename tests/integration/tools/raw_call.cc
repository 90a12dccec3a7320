// One gRPC call with any message, however wrong: ctr checks names, sizes and digests itself before
// it asks.
//
//   raw_call [OPTION]... PACKAGE.SERVICE/METHOD [TEXT]...
//
// Each TEXT is one request message in protobuf's text format; none is one empty message. Prints the
// responses in text format (bytes that are no such message: their number) and then, as the last
// line, the name of the code. The message of an error goes to stderr. Afterwards a Version call on
// the same connection has to succeed. Exit code 0: the call was OK, 1: it had another code, 2: the
// arguments are wrong, 3: the connection does not live.
//
//   --address PATH     of the daemon's socket; $CONTAINERD_ADDRESS
//   --namespace NAME   $CONTAINERD_NAMESPACE; empty: none is sent
//   --lease NAME       the lease header
//   --fill BYTES       adds an unknown field of that many bytes to each request
//   --bytes            requests are what comes from stdin, in one message, as it is
//   --timeout SECONDS  the call's deadline (30)
//   --quiet            no responses, only the code
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/text_format.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "containerd/services/version/v1/version.pb.h"
#include "rpc/grpc_client.h"

namespace {

namespace pb = google::protobuf;

struct Options {
  std::string address;
  std::string ns;
  std::string lease;
  std::string method;
  std::vector<std::string> texts;
  size_t fill = 0;
  bool bytes = false;
  bool quiet = false;
  int timeout_s = 30;
};

std::string from_environment(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::optional<Options> parse(int argc, char** argv) {
  Options options;
  options.address = from_environment("CONTAINERD_ADDRESS");
  options.ns = from_environment("CONTAINERD_NAMESPACE");
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto value = [&]() -> std::string { return i + 1 < argc ? argv[++i] : ""; };
    if (word == "--address") {
      options.address = value();
    } else if (word == "--namespace") {
      options.ns = value();
    } else if (word == "--lease") {
      options.lease = value();
    } else if (word == "--fill") {
      options.fill = std::strtoul(value().c_str(), nullptr, 10);
    } else if (word == "--bytes") {
      options.bytes = true;
    } else if (word == "--quiet") {
      options.quiet = true;
    } else if (word == "--timeout") {
      options.timeout_s = static_cast<int>(std::strtol(value().c_str(), nullptr, 10));
    } else if (word.starts_with("--")) {
      std::cerr << "raw_call: unknown option " << word << "\n";
      return std::nullopt;
    } else if (options.method.empty()) {
      options.method = word;
    } else {
      options.texts.push_back(word);
    }
  }
  if (options.address.empty() || options.method.find('/') == std::string::npos) {
    std::cerr << "usage: raw_call [OPTION]... PACKAGE.SERVICE/METHOD [TEXT]...\n";
    return std::nullopt;
  }
  return options;
}

const pb::MethodDescriptor* find_method(std::string name) {
  name[name.find('/')] = '.';
  return pb::DescriptorPool::generated_pool()->FindMethodByName(name);
}

/// Field 1000, which no message here has, of `size` bytes.
std::string filling(size_t size) {
  std::string out("\xc2\x3e", 2);  // 1000 << 3 | 2
  size_t rest = size;
  for (; rest > 127; rest >>= 7) out.push_back(static_cast<char>((rest & 127) | 128));
  out.push_back(static_cast<char>(rest));
  return out.append(size, 'x');
}

std::optional<std::vector<std::string>> requests(const Options& options,
                                                 const pb::MethodDescriptor* method) {
  if (options.bytes) {
    return std::vector<std::string>{{std::istreambuf_iterator<char>(std::cin), {}}};
  }
  std::vector<std::string> out;
  for (const std::string& text :
       options.texts.empty() ? std::vector<std::string>{""} : options.texts) {
    std::string bytes;
    if (method != nullptr) {
      const pb::Message* prototype =
          pb::MessageFactory::generated_factory()->GetPrototype(method->input_type());
      const std::unique_ptr<pb::Message> message(prototype->New());
      if (!pb::TextFormat::ParseFromString(text, message.get())) {
        std::cerr << "raw_call: no " << method->input_type()->full_name() << ": " << text << "\n";
        return std::nullopt;
      }
      bytes = message->SerializePartialAsString();
    } else if (!text.empty()) {
      std::cerr << "raw_call: a method that is not known takes --bytes only\n";
      return std::nullopt;
    }
    out.push_back(bytes + (options.fill > 0 ? filling(options.fill) : ""));
  }
  return out;
}

std::string in_text(const std::string& bytes, const pb::MethodDescriptor* method) {
  if (method != nullptr) {
    const pb::Message* prototype =
        pb::MessageFactory::generated_factory()->GetPrototype(method->output_type());
    const std::unique_ptr<pb::Message> message(prototype->New());
    std::string text;
    if (message->ParseFromString(bytes) && pb::TextFormat::PrintToString(*message, &text))
      return text;
  }
  return std::to_string(bytes.size()) + " bytes\n";
}

}  // namespace

int main(int argc, char** argv) {
  // Links the descriptors of the whole API in.
  const auto* const api = containerd::services::version::v1::VersionResponse::descriptor();
  const auto options = parse(argc, argv);
  if (!options || api == nullptr) return 2;
  const pb::MethodDescriptor* const method = find_method(options->method);
  const auto messages = requests(*options, method);
  if (!messages) return 2;

  berth::rpc::GrpcClient client(options->address);
  berth::rpc::GrpcCallOptions how;
  how.timeout = std::chrono::seconds(options->timeout_s);
  if (!options->ns.empty()) how.headers["containerd-namespace"] = options->ns;
  if (!options->lease.empty()) how.headers["containerd-lease"] = options->lease;
  const berth::Status status =
      client.call(options->method, *messages, how, [&](const std::string& response) {
        if (!options->quiet) std::cout << in_text(response, method);
      });
  std::cout << berth::code_name(status.code()) << std::endl;
  if (!status.ok()) std::cerr << status.message() << std::endl;

  const berth::Status after = client.call("containerd.services.version.v1.Version/Version", {""},
                                          how, [](const std::string&) {});
  if (!after.ok()) {
    std::cerr << "afterwards, on the same connection: " << after.to_string() << std::endl;
    return 3;
  }
  return status.ok() ? 0 : 1;
}
