// The service of ../echo-c/echo.proto on the façade, without protobuf and compiled by clang against
// libc++, whatever the host was compiled with: what crosses the boundary are bytes.
#include <berth/c_helpers.h>
#include <berth/plugin.h>

#include <stdexcept>
#include <string>

#include "echo_descriptors.h"  // generated from echo.proto

namespace {

/// More is refused.
constexpr uint32_t kMostResponses = 100'000;

struct EchoRequest {
  std::string text;
  uint32_t count = 0;

  // What the façade asks of a message class.
  bool ParseFromArray(const void* data, int size) {
    berth_pb_reader in = berth_pb_read({data, static_cast<uint64_t>(size), nullptr, nullptr, 0});
    berth_pb_field field;
    while (berth_pb_next(&in, &field) != 0) {
      if (field.number == 1 && field.wire == BERTH_PB_BYTES) text = berth::view(field.bytes);
      if (field.number == 2 && field.wire == BERTH_PB_VARINT) {
        count = static_cast<uint32_t>(field.value);
      }
    }
    return in.malformed == 0;
  }
  static std::string GetTypeName() { return "berth.example.echo.v1.EchoRequest"; }
};

struct EchoResponse {
  std::string text;
  uint32_t index = 0;
  std::string ns;

  size_t ByteSizeLong() const { return put(nullptr); }
  bool SerializeToArray(void* data, int) const {
    put(static_cast<unsigned char*>(data));
    return true;
  }

 private:
  size_t put(unsigned char* out) const {
    size_t size = berth_pb_put_text(out, 1, berth::str(text));
    const auto rest = [&] { return out == nullptr ? nullptr : out + size; };
    size += berth_pb_put_number(rest(), 2, index);
    return size + berth_pb_put_text(rest(), 3, berth::str(ns));
  }
};

/// What protoc-gen-berth would generate from echo.proto for messages of protobuf.
class EchoService : public berth::Service {
 public:
  virtual berth::Status Say(berth::Context&, const EchoRequest&, EchoResponse*) = 0;
  virtual berth::Status Repeat(berth::Context&, const EchoRequest&,
                               berth::ServerWriter<EchoResponse>&) = 0;

  void handle(uint32_t method, berth::ServerCall call) override {
    if (method == 0) {
      berth::detail::serve_unary<EchoRequest, EchoResponse>(
          std::move(call), [this](auto& context, const auto& request, auto* response) {
            return Say(context, request, response);
          });
    } else {
      berth::detail::serve_server_stream<EchoRequest, EchoResponse>(
          std::move(call), [this](auto& context, const auto& request, auto& writer) {
            return Repeat(context, request, writer);
          });
    }
  }
  static const berth_service& service() {
    static const berth_method methods[] = {{berth::str("Say"), 0, 0},
                                           {berth::str("Repeat"), BERTH_METHOD_SERVER_STREAM, 0}};
    static const berth_service table = {
        sizeof(berth_service),
        2,
        berth::str("berth.example.echo.v1.Echo"),
        methods,
        {echo_descriptors, sizeof echo_descriptors, nullptr, nullptr, 0}};
    return table;
  }
};

class Echo final : public EchoService {
 public:
  static berth::Result<std::unique_ptr<Echo>> create(const berth::Self& self) {
    self.info("an echo in C++ is ready", {{"library", library()}});
    return std::make_unique<Echo>(std::string(self.config("prefix")));
  }
  explicit Echo(std::string prefix) : prefix_(std::move(prefix)) {}

  berth::Status Say(berth::Context& context, const EchoRequest& request,
                    EchoResponse* response) override {
    BERTH_RETURN_IF_ERROR(check(request));
    response->text = prefix_ + request.text;
    response->ns = context.ns();
    return {};
  }

  berth::Status Repeat(berth::Context& context, const EchoRequest& request,
                       berth::ServerWriter<EchoResponse>& writer) override {
    BERTH_RETURN_IF_ERROR(check(request));
    // Plugins rather return a Status; this shows that what is thrown stays inside, in this library
    // too.
    if (request.count > kMostResponses) throw std::length_error("echo: that is too often");
    EchoResponse response;
    response.text = prefix_ + request.text;
    response.ns = context.ns();
    for (response.index = 0; response.index < request.count; ++response.index) {
      if (!writer.Write(response)) return berth::cancelled("echo: nobody listens any more");
    }
    return {};
  }

 private:
  static berth::Status check(const EchoRequest& request) {
    if (!request.text.empty()) return {};
    return berth::invalid_argument("echo: text is empty: say something");
  }
  static std::string_view library() {
#ifdef _LIBCPP_VERSION
    return "libc++";
#else
    return "libstdc++";
#endif
  }

  std::string prefix_;
};

}  // namespace

BERTH_PLUGIN("io.containerd.grpc.v1", "echo-libcxx", Echo);
