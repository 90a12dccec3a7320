#include "link/control.h"

namespace berth::link {
namespace {

void put(Encoder* out, const std::vector<ServiceFacts>& services) {
  out->number(static_cast<uint32_t>(services.size()));
  for (const ServiceFacts& service : services) {
    out->text(service.name).text(service.descriptors);
    out->number(static_cast<uint32_t>(service.methods.size()));
    for (const auto& [name, flags] : service.methods) out->text(name).number(flags);
  }
}

std::vector<ServiceFacts> take_services(Decoder* in) {
  std::vector<ServiceFacts> services(in->count(12));
  for (ServiceFacts& service : services) {
    service.name = in->text();
    service.descriptors = in->text();
    service.methods.resize(in->count(8));
    for (auto& [name, flags] : service.methods) {
      name = in->text();
      flags = in->number<uint32_t>();
    }
  }
  return services;
}

template <typename T>
Result<T> whole(const Decoder& in, T value, const char* what) {
  if (in.ok()) return value;
  return data_loss(std::string("the other side sent what is no frame: ") + what + " that is cut");
}

}  // namespace

std::string encode(const Loaded& loaded) {
  Encoder out;
  out.number(loaded.version);
  put(&out, loaded.services);
  return out.bytes();
}

Result<Loaded> decode_loaded(std::string_view payload) {
  Decoder in(payload);
  Loaded out;
  out.version = in.number<uint32_t>();
  if (in.ok() && out.version != kVersion) return out;  // the rest may have another form
  out.services = take_services(&in);
  return whole(in, std::move(out), "a list of services");
}

std::string encode(const Settings& settings) {
  Encoder out;
  const abi::HostFacts& host = settings.host;
  out.text(host.root).text(host.state).text(host.address).text(host.ttrpc_address);
  out.text(host.version);
  const abi::InstanceSettings& one = settings.instance;
  out.text(one.type).text(one.id).text(one.entry_id).text(one.capabilities).text(one.config_json);
  out.text(settings.log.level).text(settings.log.format);
  out.number(static_cast<uint32_t>(settings.bindings.size()));
  for (const auto& [name, targets] : settings.bindings) {
    out.text(name).number(static_cast<uint32_t>(targets.size()));
    for (const OfferedTarget& target : targets) {
      out.number(target.number).text(target.identity.uri).text(target.identity.type);
      out.text(target.identity.id).text(target.identity.capabilities);
      put(&out, target.services);
    }
  }
  return out.bytes();
}

Result<Settings> decode_settings(std::string_view payload) {
  Decoder in(payload);
  Settings out;
  abi::HostFacts& host = out.host;
  abi::InstanceSettings& one = out.instance;
  for (std::string* text : {&host.root, &host.state, &host.address, &host.ttrpc_address,
                            &host.version, &one.type, &one.id, &one.entry_id, &one.capabilities,
                            &one.config_json, &out.log.level, &out.log.format}) {
    *text = in.text();
  }
  const uint32_t names = in.count(8);
  for (uint32_t i = 0; i < names && in.ok(); ++i) {
    const std::string name(in.text());
    const uint32_t count = in.count(24);
    auto& targets = out.bindings[name];
    for (uint32_t j = 0; j < count && in.ok(); ++j) {
      const auto number = in.number<uint32_t>();
      std::string uri(in.text()), type(in.text()), id(in.text()), capabilities(in.text());
      targets.push_back({number,
                         {std::move(uri), std::move(type), std::move(id), std::move(capabilities)},
                         take_services(&in)});
    }
  }
  return whole(in, std::move(out), "settings");
}

std::string encode(const LogSettings& log) {
  return Encoder().text(log.level).text(log.format).bytes();
}

Result<LogSettings> decode_log_settings(std::string_view payload) {
  Decoder in(payload);
  LogSettings log{std::string(in.text()), {}};
  log.format = in.text();
  return whole(in, std::move(log), "settings of the log");
}

std::string_view name_of(StepName step) {
  constexpr std::string_view kNames[] = {"load", "probe", "init", "start", "stop"};
  const auto index = static_cast<uint32_t>(step);
  return index < std::size(kNames) ? kNames[index] : "an unknown step";
}

std::string encode(const StepOrder& order) {
  return Encoder().number(static_cast<uint32_t>(order.step)).number(order.deadline).bytes();
}

Result<StepOrder> decode_step(std::string_view payload) {
  Decoder in(payload);
  const auto step = static_cast<StepName>(in.number<uint32_t>());
  return whole(in, StepOrder{step, in.number<int64_t>()}, "a step");
}

std::string encode(const StepOutcome& outcome) {
  return Encoder()
             .number(static_cast<uint32_t>(outcome.step))
             .number(static_cast<uint32_t>(outcome.result.outcome))
             .bytes() +
         encode(outcome.result.status);
}

Result<StepOutcome> decode_outcome(std::string_view payload) {
  Decoder in(payload);
  StepOutcome out;
  out.step = static_cast<StepName>(in.number<uint32_t>());
  const auto kind = in.number<uint32_t>();
  const auto status = decode_status(payload.substr(std::min(in.at(), payload.size())));
  if (!in.ok() || !status || kind > static_cast<uint32_t>(abi::Instance::Outcome::kFailed)) {
    return data_loss("the other side sent what is no frame: the outcome of a step");
  }
  out.result = {static_cast<abi::Instance::Outcome>(kind), *status};
  return out;
}

std::string encode(const LogLine& line) {
  return Encoder().number(line.level).text(line.text).bytes();
}

Result<LogLine> decode_log(std::string_view payload) {
  Decoder in(payload);
  LogLine line;
  line.level = in.number<uint32_t>();
  line.text = in.text();
  return whole(in, std::move(line), "a line of the log");
}

}  // namespace berth::link
