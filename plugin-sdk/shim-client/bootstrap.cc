#include <berth/shim_client/bootstrap.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace berth::shim_client {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

// The messages are newer than the API files that Berth builds with, and three fields are all that
// is wanted.
bool parse_message(std::string_view bytes, Bootstrap* out) {
  CodedInputStream input(reinterpret_cast<const uint8_t*>(bytes.data()),
                         static_cast<int>(bytes.size()));
  out->version = 0;
  out->protocol.clear();
  while (const uint32_t tag = input.ReadTag()) {
    bool read = false;
    uint32_t number = 0;
    switch (tag) {
      case 1 << 3 | 0:
        read = input.ReadVarint32(&number);
        out->version = static_cast<int>(number);
        break;
      case 2 << 3 | 2:
        read = WireFormatLite::ReadBytes(&input, &out->address);
        break;
      case 3 << 3 | 2:
        read = WireFormatLite::ReadBytes(&input, &out->protocol);
        break;
      default:
        read = WireFormatLite::SkipField(&input, tag);
    }
    if (!read) return false;
  }
  return input.ConsumedEntireMessage() && out->version >= 2 && !out->address.empty();
}

void put_bytes(int field, std::string_view value, std::string* out) {
  if (value.empty()) return;
  google::protobuf::io::StringOutputStream stream(out);
  google::protobuf::io::CodedOutputStream coded(&stream);
  WireFormatLite::WriteString(field, std::string(value), &coded);
}

}  // namespace

Result<std::string> Bootstrap::socket_path() const {
  constexpr std::string_view kUnix = "unix://";
  if (protocol != "ttrpc") {
    return unimplemented("connect to a shim at " + address + ": its protocol is \"" + protocol +
                         "\", and Berth speaks ttrpc with shims");
  }
  if (address.starts_with(kUnix)) return address.substr(kUnix.size());
  if (address.starts_with("/")) return address;
  return unimplemented("connect to a shim at \"" + address +
                       "\": only addresses unix://PATH are known");
}

std::string Bootstrap::to_json() const {
  nlohmann::ordered_json json;
  json["version"] = version;
  json["address"] = address;
  json["protocol"] = protocol;
  return json.dump();
}

Result<Bootstrap> parse_bootstrap(std::string_view answer) {
  constexpr int kNewestVersion = 3;
  Bootstrap bootstrap;
  const std::string_view text = trimmed(answer);
  if (text.starts_with("{")) {
    const auto json = nlohmann::json::parse(text, nullptr, false);
    if (!json.is_object() || !json.contains("version") || !json["version"].is_number_integer() ||
        !json.contains("address") || !json["address"].is_string()) {
      return invalid_argument("read a shim's answer: not JSON with version and address: " +
                              std::string(text.substr(0, 256)));
    }
    bootstrap.version = json["version"].get<int>();
    bootstrap.address = json["address"].get<std::string>();
    if (json.contains("protocol") && json["protocol"].is_string()) {
      bootstrap.protocol = json["protocol"].get<std::string>();
    }
  } else if (text.starts_with("unix://") || text.starts_with("/")) {
    bootstrap.address = text;
  } else if (!parse_message(answer, &bootstrap)) {
    return invalid_argument("read a shim's answer: neither an address nor JSON nor a message: \"" +
                            std::string(text.substr(0, 256)) + "\"");
  }
  // It becomes JSON, which has no place for bytes that are no text.
  for (const std::string& word : {bootstrap.address, bootstrap.protocol}) {
    if (std::any_of(word.begin(), word.end(), [](char c) { return c <= ' ' || c > '~'; })) {
      return invalid_argument("read a shim's answer: address or protocol are no text");
    }
  }
  if (bootstrap.version < 2 || bootstrap.version > kNewestVersion) {
    return unimplemented("unsupported shim version (" + std::to_string(bootstrap.version) +
                         "): not implemented");
  }
  return bootstrap;
}

std::string BootstrapParams::serialize() const {
  std::string out;
  put_bytes(1, key.id, &out);
  put_bytes(2, key.ns, &out);
  if (debug) {  // field 3, level DEBUG = -4; INFO is 0 and not sent
    google::protobuf::io::StringOutputStream stream(&out);
    google::protobuf::io::CodedOutputStream coded(&stream);
    WireFormatLite::WriteEnum(3, -4, &coded);
  }
  put_bytes(4, daemon_version, &out);
  put_bytes(5, ttrpc_address, &out);
  put_bytes(6, grpc_address, &out);
  put_bytes(7, daemon_binary, &out);
  if (!options.empty()) {
    std::string extension;
    put_bytes(1, options, &extension);
    put_bytes(8, extension, &out);
  }
  return out;
}

Result<Bootstrap> read_bootstrap(const Bundle& bundle) {
  auto json = bundle.read("bootstrap.json");
  if (json.ok()) return parse_bootstrap(*json);
  if (json.status().code() != Code::kNotFound) return json.status();
  BERTH_ASSIGN_OR_RETURN(const std::string address, bundle.read("address"));
  return parse_bootstrap(address);
}

Status write_bootstrap(const Bundle& bundle, const Bootstrap& bootstrap) {
  BERTH_RETURN_IF_ERROR(bundle.write("bootstrap.json", bootstrap.to_json(), 0644));
  if (bundle.read("address").ok()) return {};
  return bundle.write("address", bootstrap.address, 0644);
}

}  // namespace berth::shim_client
