/* What the daemon calls: messages in, messages out. The rules of each call stand in berth/abi.h. */
#include <berth/c_helpers.h>
#include <stdlib.h>
#include <string.h>

#include "@ident@.h"
#include "@ident@_descriptors.h" /* generated from the .proto */
#include "proto/@ident@/v1/@ident@.pb-c.h"

/* One instance. The host never unloads a plugin, so it is never freed. */
struct instance {
  const berth_host *host;
  char *greeting;
};

/* berth_str is not NUL-terminated. NULL when memory is gone. */
static char *copy_text(berth_str text) {
  char *out = malloc((size_t)text.size + 1);
  if (out == NULL) return NULL;
  if (text.size != 0) memcpy(out, text.data, text.size);
  out[text.size] = '\0';
  return out;
}

static void greet(const struct instance *self, berth_call *call) {
  const berth_host *host = self->host;
  const berth_bytes bytes = host->request(call); /* borrowed until this function returns */
  Example__@Class@__V1__GreetRequest *request = example__@ident@__v1__greet_request__unpack(NULL, bytes.size, bytes.data);
  Example__@Class@__V1__GreetResponse response = EXAMPLE__@IDENT@__V1__GREET_RESPONSE__INIT;
  berth_message message;
  char *ns = NULL;
  if (request == NULL) {
    berth_answer_error(host, call, BERTH_CODE_INVALID_ARGUMENT, "greet: the request is not a well-formed GreetRequest");
    return;
  }
  if (request->name[0] == '\0') {
    berth_answer_error(host, call, BERTH_CODE_INVALID_ARGUMENT, "greet: name is empty: say whom");
    example__@ident@__v1__greet_request__free_unpacked(request, NULL);
    return;
  }
  ns = copy_text(host->header(call, berth_text("containerd-namespace")));
  response.text = ns == NULL ? NULL : @ident@_greet(self->greeting, request->name, ns);
  if (response.text == NULL) {
    berth_answer_error(host, call, BERTH_CODE_RESOURCE_EXHAUSTED, "greet: no memory for the response");
  } else {
    message = berth_new_message(host, example__@ident@__v1__greet_response__get_packed_size(&response));
    if (message.body.data != NULL) example__@ident@__v1__greet_response__pack(&response, berth_message_data(&message));
    berth_answer(host, call, message); /* ends the call, also where there was no memory */
  }
  free(response.text);
  free(ns);
  example__@ident@__v1__greet_request__free_unpacked(request, NULL);
}

/* Runs once, before any call. What berth_failed() says is what the administrator reads. */
static int32_t init(const berth_host *host, berth_self *self, void **out) {
  struct instance *instance = malloc(sizeof *instance);
  char *greeting = copy_text(host->config(self, berth_text("greeting")));
  if (instance == NULL || greeting == NULL) {
    free(instance);
    free(greeting);
    return berth_failed(host, self, BERTH_CODE_RESOURCE_EXHAUSTED, "@name@: no memory for the instance");
  }
  instance->host = host;
  instance->greeting = greeting;
  *out = instance;
  return 0;
}

/* Any thread, several at once. Each call ends with exactly one answer, in here or later. */
static void handle(void *instance, uint32_t service, uint32_t method, berth_call *call) {
  (void)service; /* there is one, and it has one method */
  (void)method;
  greet(instance, call);
}

static const berth_method methods[] = {{BERTH_TEXT("Greet"), 0, 0}};
static const berth_service greeter = {sizeof(berth_service),
                                      1,
                                      BERTH_TEXT("example.@ident@.v1.@Class@"),
                                      methods,
                                      {@ident@_descriptors, sizeof @ident@_descriptors, NULL, NULL, 0}};
static const berth_service *const services[] = {&greeter};
static const berth_plugin plugin = {sizeof(berth_plugin),
                                    1,
                                    BERTH_TEXT("io.containerd.grpc.v1"),
                                    BERTH_TEXT("@name@"),
                                    services,
                                    NULL /* probe */,
                                    init,
                                    NULL /* start */,
                                    handle,
                                    NULL /* stop */};
static const berth_plugin *const plugins[] = {&plugin};
static const berth_module module = {sizeof(berth_module), BERTH_ABI_MAJOR, BERTH_ABI_MINOR, 1, plugins};

__attribute__((visibility("default"))) const berth_module *berth_plugin_entry_v0(void);
const berth_module *berth_plugin_entry_v0(void) { return &module; }
