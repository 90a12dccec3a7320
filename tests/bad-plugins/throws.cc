// Throws where the build says: in create() (THROWS_IN_INIT) or in a call. The façade keeps what is
// thrown inside.
#include <berth/plugin.h>

#include <stdexcept>

namespace {

class Throws final : public berth::Service {
 public:
  static berth::Result<std::unique_ptr<Throws>> create(const berth::Self&) {
#ifdef THROWS_IN_INIT
    throw std::runtime_error("the cupboard is bare");
#else
    return std::make_unique<Throws>();
#endif
  }
  void handle(uint32_t, berth::ServerCall call) override {
    call.finish(berth::detail::guarded(
        []() -> berth::Status { throw std::runtime_error("the cupboard is bare"); }));
  }
  static const berth_service& service() {
    static const berth_method methods[] = {{berth::str("Do"), 0, 0}};
    static const berth_service table = {sizeof(berth_service),
                                        1,
                                        berth::str(STUB_SERVICE),
                                        methods,
                                        {nullptr, 0, nullptr, nullptr, 0}};
    return table;
  }
};

}  // namespace

BERTH_PLUGIN("io.containerd.grpc.v1", STUB_ID, Throws);
