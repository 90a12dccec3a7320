#include "validate/kits/content_kit.h"

#include <unistd.h>

#include <fstream>
#include <iterator>
#include <thread>

namespace berth::ctl::validate {

namespace fs = std::filesystem;
namespace api = content_api;

std::string pattern(size_t size, uint32_t seed) {
  std::string bytes(size, '\0');
  uint32_t state = seed * 2654435761U + 1;
  for (char& byte : bytes) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<char>(state >> 24);
  }
  return bytes;
}

Status BlobWriter::ask(api::WriteContentRequest request) {
  request.set_ref(ref_);
  if (stream_.Write(request) && stream_.Read(&last_)) return {};
  const Status ended = stream_.Finish();
  return ended.ok() ? internal_error("the call of Write ended OK in place of an answer") : ended;
}

Status BlobWriter::stat(const std::string& expected, int64_t total) {
  api::WriteContentRequest request;
  request.set_action(api::WriteAction::STAT);
  request.set_expected(expected);
  request.set_total(total);
  return ask(std::move(request));
}

Status BlobWriter::write(std::string_view data, int64_t offset) {
  api::WriteContentRequest request;
  request.set_action(api::WriteAction::WRITE);
  request.set_offset(offset);
  request.set_data(data.data(), data.size());
  return ask(std::move(request));
}

Status BlobWriter::commit(const std::string& expected, int64_t total, const Labels& labels) {
  api::WriteContentRequest request;
  request.set_action(api::WriteAction::COMMIT);
  request.set_offset(last_.offset());
  request.set_expected(expected);
  request.set_total(total);
  request.mutable_labels()->insert(labels.begin(), labels.end());
  return ask(std::move(request));
}

Status BlobWriter::close() {
  stream_.WritesDone();
  return stream_.Finish();
}

void ContentKit::SetUp() {
  ASSERT_NO_FATAL_FAILURE(PluginCase::SetUp());
  directory_ = (fs::temp_directory_path() / "berth-content-XXXXXX").string();
  ASSERT_NE(::mkdtemp(directory_.data()), nullptr);
  if (!start({}, directory_)) {
    if (!skip_.empty()) GTEST_SKIP() << skip_;
    FAIL() << "the plugin does not start";
  }
  client_ = api::ContentClient(plugin_->target());
}

void ContentKit::TearDown() {
  if (plugin_) plugin_->stop();
  std::error_code ignored;
  if (!directory_.empty()) fs::remove_all(directory_, ignored);
}

bool ContentKit::restart() {
  plugin_->stop();
  const Status started = plugin_->start({}, directory_);
  if (!started.ok()) {
    skip_ = "it cannot be started twice in one process: " + started.message();
    return false;
  }
  client_ = api::ContentClient(plugin_->target());
  return true;
}

Status ContentKit::put(const std::string& ref, std::string_view bytes,
                       const BlobWriter::Labels& labels) {
  constexpr size_t kChunk = 1 << 20;
  BlobWriter writer(client_, ref);
  BERTH_RETURN_IF_ERROR(writer.stat());
  for (size_t at = 0; at < bytes.size(); at += kChunk) {
    BERTH_RETURN_IF_ERROR(writer.append(bytes.substr(at, kChunk)));
  }
  return writer.commit(digest_of(bytes).string(), static_cast<int64_t>(bytes.size()), labels);
}

std::unique_ptr<BlobWriter> ContentKit::take(const std::string& ref) {
  Status opened;
  for (const int64_t end = monotonic_now() + 5'000'000'000; monotonic_now() < end;) {
    auto writer = std::make_unique<BlobWriter>(client_, ref);
    opened = writer->stat();
    if (opened.ok()) return writer;
    if (opened.code() != Code::kUnavailable) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ADD_FAILURE() << "ingest " << ref
                << " cannot be written after its writer went: " << opened.to_string();
  return nullptr;
}

void ContentKit::leave(const std::string& ref, std::string_view bytes) {
  BlobWriter writer(client_, ref);
  const Status begun = writer.stat();
  ASSERT_TRUE(begun.ok()) << begun.to_string();
  const Status written = writer.append(bytes);
  ASSERT_TRUE(written.ok()) << written.to_string();
  const Status closed = writer.close();
  ASSERT_TRUE(closed.ok()) << "a writer that goes properly: " << closed.to_string();
}

Result<std::string> ContentKit::read_from(const api::ContentClient& client,
                                          const std::string& digest, int64_t offset, int64_t size) {
  api::ReadContentRequest request;
  request.set_digest(digest);
  request.set_offset(offset);
  request.set_size(size);
  auto reader = client.Read(Context(), request);
  std::string bytes;
  api::ReadContentResponse response;
  while (reader.Read(&response)) {
    if (response.data().empty()) continue;
    EXPECT_EQ(response.offset(), offset + static_cast<int64_t>(bytes.size()))
        << "an answer of Read says that it lies elsewhere";
    bytes += response.data();
  }
  BERTH_RETURN_IF_ERROR(reader.Finish());
  return bytes;
}

Result<api::Info> ContentKit::info(const std::string& digest) {
  api::InfoRequest request;
  api::InfoResponse response;
  request.set_digest(digest);
  BERTH_RETURN_IF_ERROR(client_.Info(Context(), request, &response));
  return response.info();
}

Status ContentKit::remove(const std::string& digest) {
  api::DeleteContentRequest request;
  google::protobuf::Empty response;
  request.set_digest(digest);
  return client_.Delete(Context(), request, &response);
}

Status ContentKit::abort(const std::string& ref) {
  api::AbortRequest request;
  google::protobuf::Empty response;
  request.set_ref(ref);
  return client_.Abort(Context(), request, &response);
}

Result<api::Status> ContentKit::status(const std::string& ref) {
  api::StatusRequest request;
  api::StatusResponse response;
  request.set_ref(ref);
  BERTH_RETURN_IF_ERROR(client_.Status(Context(), request, &response));
  return response.status();
}

Result<std::vector<std::string>> ContentKit::list(const std::vector<std::string>& filters) {
  api::ListContentRequest request;
  for (const std::string& filter : filters) request.add_filters(filter);
  auto reader = client_.List(Context(), request);
  std::vector<std::string> digests;
  api::ListContentResponse response;
  while (reader.Read(&response)) {
    for (const api::Info& one : response.info()) digests.push_back(one.digest());
  }
  BERTH_RETURN_IF_ERROR(reader.Finish());
  std::sort(digests.begin(), digests.end());
  return digests;
}

Result<std::vector<std::string>> ContentKit::refs(const std::vector<std::string>& filters) {
  api::ListStatusesRequest request;
  for (const std::string& filter : filters) request.add_filters(filter);
  api::ListStatusesResponse response;
  BERTH_RETURN_IF_ERROR(client_.ListStatuses(Context(), request, &response));
  std::vector<std::string> found;
  for (const api::Status& one : response.statuses()) found.push_back(one.ref());
  std::sort(found.begin(), found.end());
  return found;
}

void ContentKit::expect_blob(const std::string& digest, std::string_view bytes) {
  const auto found = info(digest);
  ASSERT_TRUE(found.ok()) << found.status().to_string();
  EXPECT_EQ(found->digest(), digest);
  EXPECT_EQ(found->size(), static_cast<int64_t>(bytes.size()));
  const auto got = read(digest);
  ASSERT_TRUE(got.ok()) << got.status().to_string();
  EXPECT_TRUE(*got == bytes) << "Read gives " << got->size() << " bytes that are not those of "
                             << digest;
}

void ContentKit::expect_absent(const std::string& digest) {
  EXPECT_EQ(info(digest).status().code(), Code::kNotFound) << "Info of " << digest;
  EXPECT_EQ(read(digest).status().code(), Code::kNotFound) << "Read of " << digest;
  const auto all = list();
  ASSERT_TRUE(all.ok()) << all.status().to_string();
  EXPECT_EQ(std::count(all->begin(), all->end(), digest), 0) << "List has " << digest;
}

std::vector<fs::path> ContentKit::files_with(std::string_view bytes) const {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(directory_)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    if (text.find(bytes) != std::string::npos) found.push_back(entry.path());
  }
  return found;
}

}  // namespace berth::ctl::validate
