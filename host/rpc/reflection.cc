#include "rpc/reflection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/descriptor_database.h>

#include <set>

namespace berth::rpc {
namespace {

namespace pb = google::protobuf;

/// The files of all served services. Plugins may carry the same file; the first one counts, and a
/// plugin whose file differs in content from an equally named one is left out of reflection, not
/// out of service.
class Files {
 public:
  explicit Files(const Router& router) : pool_(&database_) {
    for (const Router::Served& served : router.served()) {
      if (!BERTH_HAS(served.description, descriptors)) continue;
      const berth_bytes& bytes = served.description->descriptors;
      pb::FileDescriptorSet set;
      if (bytes.size == 0 || !set.ParseFromArray(bytes.data, static_cast<int>(bytes.size)))
        continue;
      for (const pb::FileDescriptorProto& file : set.file()) {
        if (names_.insert(file.name()).second) (void)database_.Add(file);
      }
    }
  }

  const pb::FileDescriptor* by_name(const std::string& name) const {
    return pool_.FindFileByName(name);
  }
  const pb::FileDescriptor* by_symbol(const std::string& symbol) const {
    return pool_.FindFileContainingSymbol(symbol);
  }
  const pb::DescriptorPool& pool() const { return pool_; }

 private:
  pb::SimpleDescriptorDatabase database_;
  pb::DescriptorPool pool_;
  std::set<std::string> names_;
};

template <typename Answer>
void add_with_imports(const pb::FileDescriptor* file, std::set<const pb::FileDescriptor*>* seen,
                      Answer* answer) {
  if (!seen->insert(file).second) return;
  pb::FileDescriptorProto proto;
  file->CopyTo(&proto);
  answer->add_file_descriptor_proto(proto.SerializeAsString());
  for (int i = 0; i < file->dependency_count(); ++i) {
    add_with_imports(file->dependency(i), seen, answer);
  }
}

template <typename Response>
void refuse(Code code, std::string message, Response* response) {
  response->mutable_error_response()->set_error_code(static_cast<int32_t>(code));
  response->mutable_error_response()->set_error_message(std::move(message));
}

template <typename Response>
void answer_file(const pb::FileDescriptor* file, const std::string& asked, Response* response) {
  if (file == nullptr) {
    return refuse(Code::kNotFound, "reflection: \"" + asked + "\" is in no served file", response);
  }
  std::set<const pb::FileDescriptor*> seen;
  add_with_imports(file, &seen, response->mutable_file_descriptor_response());
}

template <typename Request, typename Response>
void answer(const Router& router, const Files& files, const Request& request, Response* response) {
  response->set_valid_host(request.host());
  *response->mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kFileByFilename:
      return answer_file(files.by_name(request.file_by_filename()), request.file_by_filename(),
                         response);
    case Request::kFileContainingSymbol:
      return answer_file(files.by_symbol(request.file_containing_symbol()),
                         request.file_containing_symbol(), response);
    case Request::kListServices:
      response->mutable_list_services_response();
      for (const Router::Served& served : router.served()) {
        response->mutable_list_services_response()->add_service()->set_name(served.service);
      }
      return;
    case Request::kAllExtensionNumbersOfType:
      if (files.pool().FindMessageTypeByName(request.all_extension_numbers_of_type()) == nullptr) {
        return refuse(Code::kNotFound,
                      "reflection: no message \"" + request.all_extension_numbers_of_type() + "\"",
                      response);
      }
      // The API is proto3: no message has extensions.
      response->mutable_all_extension_numbers_response()->set_base_type_name(
          request.all_extension_numbers_of_type());
      return;
    case Request::kFileContainingExtension:
      return refuse(Code::kNotFound, "reflection: the API has no extensions", response);
    default:
      return refuse(Code::kInvalidArgument, "reflection: the request asks nothing", response);
  }
}

template <typename Stream>
Status serve(const Router& router, Stream& stream) {
  const Files files(router);
  typename std::remove_reference_t<decltype(stream)>::RequestType request;
  while (stream.Read(&request)) {
    typename std::remove_reference_t<decltype(stream)>::ResponseType response;
    answer(router, files, request, &response);
    if (!stream.Write(response)) break;
  }
  return {};
}

}  // namespace

Status Reflection::ServerReflectionInfo(Context&, ServerStream<Request, Response>& stream) {
  return serve(router_, stream);
}

Status ReflectionAlpha::ServerReflectionInfo(Context&, ServerStream<Request, Response>& stream) {
  return serve(router_, stream);
}

}  // namespace berth::rpc
