/* Writes through a null pointer: in probe, or (CRASHES_IN_CALL) in a call. */
#include <berth/c_helpers.h>

static void crash(void) {
  volatile int* nowhere = NULL;
  *nowhere = 1;
}

static int32_t probe(const berth_host* host, berth_self* self) {
  (void)host;
  (void)self;
#ifndef CRASHES_IN_CALL
  crash();
#endif
  return 0;
}

static int32_t init(const berth_host* host, berth_self* self, void** instance) {
  (void)self;
  *instance = (void*)host;
  return 0;
}

static void handle(void* instance, uint32_t service, uint32_t method, berth_call* call) {
  (void)service;
  (void)method;
  crash();
  berth_answer_error(instance, call, BERTH_CODE_INTERNAL, "it did not crash");
}

static const berth_method methods[] = {{BERTH_TEXT("Do"), 0, 0}};
static const berth_service service_table = {
    sizeof(berth_service), 1, BERTH_TEXT(STUB_SERVICE), methods, {NULL, 0, NULL, NULL, 0}};
static const berth_service* const services[] = {&service_table};
static const berth_plugin plugin = {sizeof(berth_plugin),
                                    1,
                                    BERTH_TEXT("io.containerd.grpc.v1"),
                                    BERTH_TEXT(STUB_ID),
                                    services,
                                    probe,
                                    init,
                                    NULL,
                                    handle,
                                    NULL};
static const berth_plugin* const plugins[] = {&plugin};
static const berth_module module = {sizeof(berth_module), BERTH_ABI_MAJOR, BERTH_ABI_MINOR, 1,
                                    plugins};

__attribute__((visibility("default"))) const berth_module* berth_plugin_entry_v0(void);
const berth_module* berth_plugin_entry_v0(void) { return &module; }
