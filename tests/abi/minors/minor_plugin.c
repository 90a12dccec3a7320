/* A plugin that is built with the header of another minor of the ABI than the host. Behind each
 * struct that it gives to the host lies what a host would trip over that read, or wrote, further
 * than struct_size says: MINOR_NAME is the header's name, LEAST_MINOR what the plugin asks of the
 * host. */
#include <berth/c_helpers.h>
#include <stdio.h>
#include <stdlib.h>

#define URI_TYPE "io.containerd.grpc.v1"
#define BACK "berth.test.v1." MINOR_NAME ".Back"
#define FRONT "berth.test.v1." MINOR_NAME ".Front"

static const berth_host* host;
static berth_target* back;

static void must_not_run(void* instance, int64_t deadline) {
  (void)instance;
  (void)deadline;
  abort();
}

static int32_t init_back(const berth_host* table, berth_self* self, void** instance) {
  (void)self;
  *instance = NULL;
  host = table;
  return 0;
}

static int32_t init_front(const berth_host* table, berth_self* self, void** instance) {
  *instance = NULL;
  host = table;
  back = host->connect(self, berth_text("back"), 0);
  return back == NULL ? berth_failed(host, self, BERTH_CODE_INTERNAL, "back is not connected") : 0;
}

static void answer_text(berth_call* call, const char* text) {
  berth_message message = berth_new_message(host, strlen(text));
  memcpy(berth_message_data(&message), text, strlen(text));
  berth_answer(host, call, message);
}

/* Looks at its caller, and at what lies behind the struct that it gets it in. */
static void handle_back(void* instance, uint32_t service, uint32_t method, berth_call* call) {
  struct {
    berth_peer peer;
    uint32_t behind[4];
  } out;
  memset(&out, 0x5a, sizeof out);
  out.peer.struct_size = sizeof out.peer;
  (void)instance;
  (void)service;
  (void)method;
  host->peer(call, &out.peer);
  for (size_t i = 0; i < 4; ++i) {
    if (out.behind[i] != 0x5a5a5a5aU)
      return berth_answer_error(host, call, BERTH_CODE_INTERNAL,
                                "the host wrote behind berth_peer");
  }
  if (out.peer.struct_size != sizeof out.peer || out.peer.known > 1) {
    return berth_answer_error(host, call, BERTH_CODE_INTERNAL,
                              "the host did not fill in berth_peer");
  }
  char text[128];
  snprintf(text, sizeof text, "host 0.%u, plugin 0.%u", (unsigned)host->abi_minor,
           (unsigned)BERTH_ABI_MINOR);
#ifdef HAS_NEWEST
  if (out.peer.newest != 0x5a5a5a5a5a5a5a5aU)
    return berth_answer_error(host, call, BERTH_CODE_INTERNAL, "the host knows berth_peer.newest");
  strcat(text, BERTH_HAS(host, newest) ? ", has newest" : ", has no newest");
#endif
  answer_text(call, text);
}

/* Asks the back, with options behind which lies a deadline that passed long ago. */
static void handle_front(void* instance, uint32_t service, uint32_t method, berth_call* call) {
  struct {
    berth_call_options options;
    int64_t behind[4];
  } how = {{0}, {1, 1, 1, 1}};
  how.options.struct_size = sizeof how.options;
  how.options.parent = call;
#ifndef WITHOUT_LAST
  how.options.deadline = BERTH_FOREVER;
#endif
  (void)instance;
  (void)service;
  (void)method;
  berth_message request = {{NULL, 0, NULL, NULL, 0}, NULL, 0, 0};
  berth_client* client =
      host->unary(back, host->resolve(back, berth_text(BACK "/Do")), &how.options, &request);
  berth_status status;
  berth_message response;
  if (host->client_status(client, &status) != 1 || status.code != 0) {
    host->finish(call, &status, NULL);
  } else if (host->client_recv(client, 0, &response) != BERTH_OK) {
    berth_answer_error(host, call, BERTH_CODE_INTERNAL, "the back gave no response");
  } else {
    berth_answer(host, call, response);
  }
  host->client_release(client);
}

static const berth_method methods[] = {{BERTH_TEXT("Do"), 0, 0}};

/* Behind the service, where the header has no descriptors: bytes that nobody can read. */
typedef struct service_and_trap {
  berth_service service;
  berth_bytes behind;
} service_and_trap;
/* Behind the plugin, where the header has no stop: one that ends the process. */
typedef struct plugin_and_trap {
  berth_plugin plugin;
  void (*behind[2])(void* instance, int64_t deadline);
} plugin_and_trap;

static service_and_trap back_service, front_service;
static const berth_service* const back_services[] = {&back_service.service};
static const berth_service* const front_services[] = {&front_service.service};
static plugin_and_trap back_plugin, front_plugin;
static const berth_plugin* const plugins[] = {&back_plugin.plugin, &front_plugin.plugin};

static void make_service(service_and_trap* made, const char* name) {
  made->service.struct_size = sizeof made->service;
  made->service.method_count = 1;
  made->service.name = berth_text(name);
  made->service.methods = methods;
  made->behind.data = (const void*)8;
  made->behind.size = 1U << 20;
}

static void make_plugin(plugin_and_trap* made, const char* id, const berth_service* const* services,
                        int32_t (*init)(const berth_host*, berth_self*, void**),
                        void (*handle)(void*, uint32_t, uint32_t, berth_call*)) {
  made->plugin.struct_size = sizeof made->plugin;
  made->plugin.service_count = 1;
  made->plugin.type = berth_text(URI_TYPE);
  made->plugin.id = berth_text(id);
  made->plugin.services = services;
  made->plugin.init = init;
  made->plugin.handle = handle;
  made->behind[0] = made->behind[1] = must_not_run;
#ifdef HAS_NEWEST
  made->plugin.newest = (uint64_t)(uintptr_t)must_not_run;
#endif
}

__attribute__((visibility("default"))) const berth_module* berth_plugin_entry_v0(void);
const berth_module* berth_plugin_entry_v0(void) {
  static berth_module module;
  make_service(&back_service, BACK);
  make_service(&front_service, FRONT);
  make_plugin(&back_plugin, MINOR_NAME "-back", back_services, init_back, handle_back);
  make_plugin(&front_plugin, MINOR_NAME "-front", front_services, init_front, handle_front);
  module.struct_size = sizeof module;
  module.abi_major = BERTH_ABI_MAJOR;
  module.abi_minor = LEAST_MINOR;
  module.plugin_count = 2;
  module.plugins = plugins;
  return &module;
}
