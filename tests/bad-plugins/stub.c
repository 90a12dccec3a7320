/* A plugin that is right, for manifests that are wrong. What differs comes from the build:
 * STUB_TYPE, STUB_ID, STUB_SERVICE, STUB_ABI_MAJOR, STUB_ABI_MINOR. */
#include <berth/c_helpers.h>

#ifndef STUB_TYPE
#define STUB_TYPE "io.containerd.grpc.v1"
#endif
#ifndef STUB_SERVICE
#define STUB_SERVICE "berth.test.v1." STUB_ID
#endif
#ifndef STUB_ABI_MAJOR
#define STUB_ABI_MAJOR BERTH_ABI_MAJOR
#endif
#ifndef STUB_ABI_MINOR
#define STUB_ABI_MINOR BERTH_ABI_MINOR
#endif

static int32_t init(const berth_host* host, berth_self* self, void** instance) {
  (void)self;
  *instance = (void*)host;
  return 0;
}

static void handle(void* instance, uint32_t service, uint32_t method, berth_call* call) {
  const berth_host* host = instance;
  (void)service;
  (void)method;
  berth_answer(host, call, berth_new_message(host, 0));
}

static const berth_method methods[] = {{BERTH_TEXT("Do"), 0, 0}};
static const berth_service stub_service = {
    sizeof(berth_service), 1, BERTH_TEXT(STUB_SERVICE), methods, {NULL, 0, NULL, NULL, 0}};
static const berth_service* const services[] = {&stub_service};
static const berth_plugin stub_plugin = {sizeof(berth_plugin),
                                         1,
                                         BERTH_TEXT(STUB_TYPE),
                                         BERTH_TEXT(STUB_ID),
                                         services,
                                         NULL,
                                         init,
                                         NULL,
                                         handle,
                                         NULL};
static const berth_plugin* const plugins[] = {&stub_plugin};
static const berth_module module = {sizeof(berth_module), STUB_ABI_MAJOR, STUB_ABI_MINOR, 1,
                                    plugins};

__attribute__((visibility("default"))) const berth_module* berth_plugin_entry_v0(void);
const berth_module* berth_plugin_entry_v0(void) { return &module; }
