/* A plugin that berth-plugin-run can run by itself. Its methods: Do answers with a word and what it
 * is bound to, Wait ends when it is cancelled, Sicken makes the plugin unhealthy. `stop` leaves a
 * file in its root. */
#include <berth/c_helpers.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const berth_host* host;
static berth_self* self;
static uint32_t peers;

static int32_t step(const char* name) {
  const berth_str fails = host->config(self, berth_text("fails_in"));
  if (fails.size != strlen(name) || memcmp(fails.data, name, fails.size) != 0) return 0;
  char code[16] = "";
  const berth_str text = host->config(self, berth_text("code"));
  memcpy(code, text.data, text.size < sizeof code ? text.size : sizeof code - 1);
  return berth_failed(host, self, atoi(code), "told to fail");
}

static int32_t probe(const berth_host* table, berth_self* own) {
  host = table;
  self = own;
  return step("probe");
}

static int32_t init(const berth_host* table, berth_self* own, void** instance) {
  (void)table;
  *instance = &self;
  peers = host->bound(own, berth_text("peer"));
  return step("init");
}

static int32_t start(void* instance) {
  (void)instance;
  return step("start");
}

static void answer_text(berth_call* call, const char* text, uint32_t size) {
  berth_message message = berth_new_message(host, size);
  memcpy(berth_message_data(&message), text, size);
  berth_answer(host, call, message);
}

static void handle(void* instance, uint32_t service, uint32_t method, berth_call* call) {
  (void)instance;
  (void)service;
  if (method == 0) {
    char text[256];
    const berth_str word = host->config(self, berth_text("word"));
    const berth_str space = host->header(call, berth_text("containerd-namespace"));
    const int size = snprintf(text, sizeof text, "%.*s %u %.*s", (int)word.size, word.data,
                              (unsigned)peers, (int)space.size, space.size == 0 ? "" : space.data);
    answer_text(call, text, (uint32_t)size);
  } else if (method == 1) {
    const struct timespec nap = {0, 2000000};
    host->log(self, BERTH_LOG_INFO, berth_text("somebody waits"), NULL, 0);
    while (host->cancelled(call) == 0) nanosleep(&nap, NULL);
    berth_answer_error(host, call, BERTH_CODE_CANCELLED, "seen");
  } else {
    host->unhealthy(self, berth_text("told to be"));
    answer_text(call, "", 0);
  }
}

static void stop(void* instance, int64_t deadline) {
  (void)instance;
  (void)deadline;
  const berth_str root = host->property(self, berth_text("root"));
  char path[4096];
  snprintf(path, sizeof path, "%.*s/stopped", (int)root.size, root.data);
  FILE* file = fopen(path, "w");
  if (file != NULL) fclose(file);
}

static const berth_method methods[] = {
    {BERTH_TEXT("Do"), 0, 0}, {BERTH_TEXT("Wait"), 0, 0}, {BERTH_TEXT("Sicken"), 0, 0}};
static const berth_service runnable_service = {sizeof(berth_service),
                                               3,
                                               BERTH_TEXT("berth.test.v1.Runnable"),
                                               methods,
                                               {NULL, 0, NULL, NULL, 0}};
static const berth_service* const services[] = {&runnable_service};
static const berth_plugin runnable = {sizeof(berth_plugin),
                                      1,
                                      BERTH_TEXT("io.containerd.grpc.v1"),
                                      BERTH_TEXT("runnable"),
                                      services,
                                      probe,
                                      init,
                                      start,
                                      handle,
                                      stop};
#ifdef WITH_SECOND
static const berth_service second_service = {sizeof(berth_service),
                                             3,
                                             BERTH_TEXT("berth.test.v1.Second"),
                                             methods,
                                             {NULL, 0, NULL, NULL, 0}};
static const berth_service* const second_services[] = {&second_service};
static const berth_plugin second = {sizeof(berth_plugin),
                                    1,
                                    BERTH_TEXT("io.containerd.grpc.v1"),
                                    BERTH_TEXT("second"),
                                    second_services,
                                    probe,
                                    init,
                                    start,
                                    handle,
                                    stop};
static const berth_plugin* const plugins[] = {&runnable, &second};
#else
static const berth_plugin* const plugins[] = {&runnable};
#endif
static const berth_module module = {sizeof(berth_module), BERTH_ABI_MAJOR, BERTH_ABI_MINOR,
                                    sizeof plugins / sizeof plugins[0], plugins};

__attribute__((visibility("default"))) const berth_module* berth_plugin_entry_v0(void);
const berth_module* berth_plugin_entry_v0(void) { return &module; }
