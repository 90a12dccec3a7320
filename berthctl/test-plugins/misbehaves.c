/* A plugin that is right but in one thing, which the build names: HANGS, EXITS, DROPS, LEAKS,
 * NO_CODE, LOSES, SLEEPS_IN_STOP, NO_REASON. Its one method answers the bytes it was asked. */
#include <berth/c_helpers.h>
#include <stdlib.h>
#include <unistd.h>

static int32_t init(const berth_host* host, berth_self* self, void** instance) {
  (void)self;
  *instance = (void*)host;
  return 0;
}

static void handle(void* instance, uint32_t service, uint32_t method, berth_call* call) {
  const berth_host* host = instance;
  const berth_bytes request = host->request(call);
  berth_message message = berth_new_message(host, request.size);
  (void)service;
  (void)method;
#ifdef HANGS
  for (;;) pause();
#endif
#ifdef EXITS
  exit(0);
#endif
#ifdef DROPS
  return;
#endif
#ifdef LEAKS
  (void)host->alloc(100);
#endif
#ifdef NO_CODE
  berth_answer_error(host, call, 4711, "a code of my own");
  return;
#endif
#ifdef NO_REASON
  berth_answer_error(host, call, BERTH_CODE_NOT_FOUND, "");
  return;
#endif
  if (message.body.data == NULL) {
#ifdef LOSES
    host->finish(call, NULL, &message);
    return;
#endif
  } else if (request.size != 0) {
    memcpy(berth_message_data(&message), request.data, request.size);
  }
  berth_answer(host, call, message);
}

static void stop(void* instance, int64_t deadline) {
  (void)instance;
  (void)deadline;
#ifdef SLEEPS_IN_STOP
  for (;;) pause();
#endif
}

static const berth_method methods[] = {{BERTH_TEXT("Do"), 0, 0}};
static const berth_service service_table = {sizeof(berth_service),
                                            1,
                                            BERTH_TEXT("berth.test.v1.Misbehaves"),
                                            methods,
                                            {NULL, 0, NULL, NULL, 0}};
static const berth_service* const services[] = {&service_table};
static const berth_plugin plugin = {sizeof(berth_plugin),
                                    1,
                                    BERTH_TEXT("io.containerd.grpc.v1"),
                                    BERTH_TEXT("misbehaves"),
                                    services,
                                    NULL,
                                    init,
                                    NULL,
                                    handle,
                                    stop};
static const berth_plugin* const plugins[] = {&plugin};
static const berth_module module = {sizeof(berth_module), BERTH_ABI_MAJOR, BERTH_ABI_MINOR, 1,
                                    plugins};

__attribute__((visibility("default"))) const berth_module* berth_plugin_entry_v0(void);
const berth_module* berth_plugin_entry_v0(void) { return &module; }
