// Frames and envelopes come from whoever connects. Whatever the bytes and wherever reads cut them,
// the frames are the same.
#include <berth/ttrpc/envelope.h>
#include <berth/ttrpc/frame.h>

#include <cstdlib>
#include <vector>

namespace {

std::vector<berth::ttrpc::Frame> parse(std::string_view bytes, size_t step) {
  berth::ttrpc::FrameParser parser;
  std::vector<berth::ttrpc::Frame> frames;
  for (size_t at = 0; at < bytes.size(); at += step) {
    parser.feed(bytes.substr(at, step),
                [&](berth::ttrpc::Frame frame) { frames.push_back(std::move(frame)); });
  }
  return frames;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto whole = parse(bytes, size + 1);
  const auto cut = parse(bytes, 3);
  if (whole.size() != cut.size()) std::abort();
  for (size_t i = 0; i < whole.size(); ++i) {
    if (whole[i].payload != cut[i].payload || whole[i].stream_id != cut[i].stream_id) std::abort();
  }
  berth::ttrpc::RequestEnvelope request;
  if (berth::ttrpc::decode(bytes, &request).ok()) {
    berth::ttrpc::RequestEnvelope again;
    if (!berth::ttrpc::decode(berth::ttrpc::encode(request), &again).ok()) std::abort();
    if (again.payload != request.payload || again.metadata != request.metadata) std::abort();
  }
  berth::ttrpc::ResponseEnvelope response;
  (void)berth::ttrpc::decode(bytes, &response);
  return 0;
}
