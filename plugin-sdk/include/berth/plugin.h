// What a plugin's plugin.cc includes: the instance's view of itself, and the registration.
//
//   class Overlay final : public SnapshotsService {
//    public:
//     static berth::Status probe(const berth::Self& self);                        // optional
//     static berth::Result<std::unique_ptr<Overlay>> create(const berth::Self& self);
//     berth::Status start();                                                      // optional
//     void stop(int64_t deadline_ns);                                             // optional
//     Status Prepare(Context& context, const PrepareSnapshotRequest& request, PrepareSnapshotResponse* response) override;
//   };
//   BERTH_PLUGIN("io.containerd.snapshotter.v1", "overlayfs", Overlay);
//
// A plugin of several services is a class with `using Services = berth::Services<A, B>` and a member
// `std::array<berth::Service*, 2> services()` in the same order. A service class may name methods that never block in
// `static constexpr std::string_view kNoBlock[] = {"Wait"}`: they may run on an event thread (ABI rule 10).
#pragma once

#include <berth/server.h>

#include <array>

namespace berth {

/// This instance, as the host knows it. A value; valid for ever. Any thread unless said otherwise.
class Self {
 public:
  explicit Self(berth_self* raw) : raw_(raw) {}

  /// "uri", "type", "id", "root", "state", "host-root", "host-state", "address", "ttrpc-address", "version".
  std::string_view property(std::string_view name) const {
    return view(detail::host->property(raw_, str(name)));
  }
  /// A configuration value by dotted path, as text (JSON for lists and tables); empty when absent.
  std::string_view config(std::string_view path) const {
    return view(detail::host->config(raw_, str(path)));
  }
  bool config_bool(std::string_view path) const { return config(path) == "true"; }
  int64_t config_int(std::string_view path) const {
    const std::string text(config(path));
    return text.empty() ? 0 : std::strtoll(text.c_str(), nullptr, 10);
  }
  double config_float(std::string_view path) const {
    const std::string text(config(path));
    return text.empty() ? 0 : std::strtod(text.c_str(), nullptr);
  }
  /// The whole configuration as one JSON object.
  std::string_view config_json() const { return config({}); }

  /// During create() only: how many plugins a requirement is bound to, and the index-th.
  uint32_t bound(std::string_view requirement) const {
    return detail::host->bound(raw_, str(requirement));
  }
  Target connect(std::string_view requirement, uint32_t index = 0) const {
    return Target(detail::host->connect(raw_, str(requirement), index));
  }
  /// A typed client; one that is not connected answers UNAVAILABLE.
  template <typename Client>
  Client connect_to(std::string_view requirement, uint32_t index = 0) const {
    return Client(connect(requirement, index));
  }

  /// Runs `work` on a host thread that may block. False when no thread is to be had; `work` is then dropped.
  bool spawn(std::function<void()> work) const {
    auto owned = std::make_unique<std::function<void()>>(std::move(work));
    const auto run = [](void* context) {
      std::unique_ptr<std::function<void()>> function(static_cast<std::function<void()>*>(context));
      (*function)();
    };
    if (detail::host->spawn(raw_, run, owned.get()) != BERTH_OK) return false;
    (void)owned.release();  // the callback owns it now
    return true;
  }

  using Fields = std::initializer_list<std::pair<std::string_view, std::string_view>>;
  void log(uint32_t level, std::string_view text, Fields fields = {}) const {
    std::array<berth_header, 8> raw{};
    uint32_t count = 0;
    for (const auto& [key, value] : fields) {
      if (count < raw.size()) raw[count++] = {str(key), str(value), 0};
    }
    detail::host->log(raw_, level, str(text), raw.data(), count);
  }
  void debug(std::string_view text, Fields fields = {}) const { log(BERTH_LOG_DEBUG, text, fields); }
  void info(std::string_view text, Fields fields = {}) const { log(BERTH_LOG_INFO, text, fields); }
  void warn(std::string_view text, Fields fields = {}) const { log(BERTH_LOG_WARN, text, fields); }
  void error(std::string_view text, Fields fields = {}) const { log(BERTH_LOG_ERROR, text, fields); }

  /// Calls to this plugin are refused from now on, with `why`.
  void unhealthy(std::string_view why) const { detail::host->unhealthy(raw_, str(why)); }

  berth_self* raw() const { return raw_; }

 private:
  berth_self* raw_;
};

/// The services of a plugin that has several.
template <typename... S>
struct Services {};

namespace detail {

/// The ABI tables of one service class, made from the generated one and the class's kNoBlock.
template <typename S, typename Implementation>
const berth_service* service_table() {
  static const auto table = [] {
    struct Tables {
      std::vector<berth_method> methods;
      berth_service service;
    };
    static Tables tables;
    const berth_service& generated = S::service();
    tables.methods.assign(generated.methods, generated.methods + generated.method_count);
    if constexpr (requires { Implementation::kNoBlock; }) {
      for (berth_method& method : tables.methods) {
        for (std::string_view name : Implementation::kNoBlock) {
          if (view(method.name) == name) method.flags |= BERTH_METHOD_NO_BLOCK;
        }
      }
    }
    tables.service = generated;
    tables.service.methods = tables.methods.data();
    return &tables.service;
  }();
  return table;
}

template <typename T>
struct ServicesOf {
  static std::vector<const berth_service*> tables() { return {service_table<T, T>()}; }
  static std::vector<Service*> of(T& plugin) { return {&plugin}; }
};
template <typename T>
  requires requires { typename T::Services; }
struct ServicesOf<T> {
  static std::vector<const berth_service*> tables() { return tables_of(typename T::Services()); }
  template <typename... S>
  static std::vector<const berth_service*> tables_of(Services<S...>) {
    return {service_table<S, S>()...};
  }
  static std::vector<Service*> of(T& plugin) {
    const auto services = plugin.services();
    return {services.begin(), services.end()};
  }
};

/// There is one table for ever; it is not written again, since other threads may be reading it.
inline void install(const berth_host* table) {
  if (host != table) host = table;
}

/// Reports the failure of a lifecycle step to the host.
inline int32_t report(berth_self* self, const Status& status) {
  if (status.ok()) return 0;
  const berth_status raw = borrow(status);
  host->fail(self, &raw);
  return raw.code;
}

template <typename T>
class Registration {
 public:
  struct Instance {
    std::unique_ptr<T> plugin;
    std::vector<Service*> services;
    berth_self* self;
  };

  static const berth_plugin* plugin(std::string_view type, std::string_view id) {
    static const std::vector<const berth_service*> tables = ServicesOf<T>::tables();
    static const berth_plugin table = {
        sizeof(berth_plugin), static_cast<uint32_t>(tables.size()), str(type), str(id),
        tables.data(),        probe, init, start, handle, stop};
    return &table;
  }

 private:
  static int32_t probe(const berth_host* table, berth_self* self) {
    install(table);
    return report(self, guarded([&]() -> Status {
                    if constexpr (requires { T::probe(Self(self)); }) {
                      return T::probe(Self(self));
                    } else {
                      return {};
                    }
                  }));
  }
  static int32_t init(const berth_host* table, berth_self* self, void** out) {
    install(table);
    return report(self, guarded([&]() -> Status {
                    BERTH_ASSIGN_OR_RETURN(auto plugin, T::create(Self(self)));
                    auto instance = std::make_unique<Instance>();
                    instance->services = ServicesOf<T>::of(*plugin);
                    instance->plugin = std::move(plugin);
                    instance->self = self;
                    *out = instance.release();  // lives as long as the process (ABI rule 11)
                    return {};
                  }));
  }
  static int32_t start(void* raw) {
    auto* instance = static_cast<Instance*>(raw);
    return report(instance->self, guarded([&]() -> Status {
                    if constexpr (requires { instance->plugin->start(); }) {
                      return instance->plugin->start();
                    } else {
                      return {};
                    }
                  }));
  }
  static void stop(void* raw, int64_t deadline) {
    auto* instance = static_cast<Instance*>(raw);
    const Status status = guarded([&]() -> Status {
      if constexpr (requires { instance->plugin->stop(deadline); }) instance->plugin->stop(deadline);
      return {};
    });
    if (!status.ok()) Self(instance->self).error("stop failed", {{"error", status.message()}});
  }
  static void handle(void* raw, uint32_t service, uint32_t method, berth_call* call) {
    auto* instance = static_cast<Instance*>(raw);
    // Generated handlers answer with the exception's text; a handler that took the raw call and threw has dropped it.
    try {
      instance->services[service]->handle(method, ServerCall(call));
    } catch (const std::exception& error) {
      Self(instance->self).error("handler threw", {{"error", error.what()}});
    } catch (...) {
      Self(instance->self).error("handler threw something that is not an exception");
    }
  }
};

/// The plugins of this shared object, in the order in which their registrations ran.
inline std::vector<const berth_plugin*>& registered() {
  static std::vector<const berth_plugin*> plugins;
  return plugins;
}

inline const berth_module* module() {
  static const berth_module table = {sizeof(berth_module), BERTH_ABI_MAJOR, BERTH_ABI_MINOR,
                                     static_cast<uint32_t>(registered().size()),
                                     registered().data()};
  return &table;
}

}  // namespace detail

/// Registers class T; at namespace scope in a source file of the plugin.
#define BERTH_PLUGIN(type, id, T)                                          \
  static const bool BERTH_CONCAT(berth_registered_, __COUNTER__) = [] {    \
    ::berth::detail::registered().push_back(                              \
        ::berth::detail::Registration<T>::plugin(type, id));              \
    return true;                                                           \
  }()

}  // namespace berth
