/* What the daemon calls: messages in, messages out. The rules of each call stand in berth/abi.h. */
#include <berth/c_helpers.h>
#include <stdlib.h>

#include "@ident@.h"
#include "messages.h"

#define TYPE(name) Containerd__Services__Diff__V1__##name
#define DESCRIPTOR(name) &containerd__services__diff__v1__##name##__descriptor
#define INIT(name) containerd__services__diff__v1__##name##__init

static Containerd__Types__Descriptor described(struct layer_facts *facts) {
  Containerd__Types__Descriptor out = CONTAINERD__TYPES__DESCRIPTOR__INIT;
  out.media_type = (char *)facts->media_type;
  out.digest = facts->digest;
  out.size = facts->size;
  return out;
}

static int32_t apply(const struct @ident@_plugin *self, berth_call *call, const ProtobufCMessage *request, struct failure *why) {
  struct layer_facts facts;
  Containerd__Types__Descriptor descriptor;
  TYPE(ApplyResponse) response;
  if (@ident@_apply(self, call, (const TYPE(ApplyRequest) *)request, &facts, why) != 0) return why->code;
  descriptor = described(&facts);
  INIT(apply_response)(&response);
  response.applied = &descriptor;
  answer_message(self->content.host, call, &response.base);
  return 0;
}

static int32_t diff(const struct @ident@_plugin *self, berth_call *call, const ProtobufCMessage *request, struct failure *why) {
  struct layer_facts facts;
  Containerd__Types__Descriptor descriptor;
  TYPE(DiffResponse) response;
  if (@ident@_diff(self, call, (const TYPE(DiffRequest) *)request, &facts, why) != 0) return why->code;
  descriptor = described(&facts);
  INIT(diff_response)(&response);
  response.diff = &descriptor;
  answer_message(self->content.host, call, &response.base);
  return 0;
}

static const berth_method methods[] = {{BERTH_TEXT("Apply"), 0, 0}, {BERTH_TEXT("Diff"), 0, 0}};

/* A method: 0 when it has answered, else why the call fails. */
static const struct {
  const ProtobufCMessageDescriptor *request;
  int32_t (*function)(const struct @ident@_plugin *self, berth_call *call, const ProtobufCMessage *request, struct failure *why);
} functions[] = {{DESCRIPTOR(apply_request), apply}, {DESCRIPTOR(diff_request), diff}};

/* Any thread, several at once. Each call ends with exactly one answer. */
static void handle(void *instance, uint32_t service, uint32_t method, berth_call *call) {
  const struct @ident@_plugin *self = instance;
  struct failure why = {0, ""};
  ProtobufCMessage *request = unpack_request(self->content.host, call, functions[method].request);
  (void)service; /* there is one */
  if (request == NULL) return;
  if (functions[method].function(self, call, request, &why) != 0) answer_failure(self->content.host, call, &why);
  protobuf_c_message_free_unpacked(request, NULL);
}

/* Runs once, before any call. What berth_failed() says is what the administrator reads. The host never unloads a plugin, so the
 * instance is never freed. */
static int32_t init(const berth_host *host, berth_self *self, void **out) {
  struct failure why = {0, ""};
  struct @ident@_plugin *instance = calloc(1, sizeof *instance);
  if (instance != NULL) instance->folder = copy_text(host->property(self, berth_text("state")));
  if (instance == NULL || instance->folder == NULL) {
    free(instance);
    return berth_failed(host, self, BERTH_CODE_RESOURCE_EXHAUSTED, "@name@: no memory for the instance");
  }
  if (blobs_connect(&instance->content, host, self, &why) != 0) {
    free(instance->folder);
    free(instance);
    return berth_failed(host, self, why.code, why.text);
  }
  *out = instance;
  return 0;
}

static const berth_service service_table = {sizeof(berth_service), sizeof methods / sizeof methods[0],
                                            BERTH_TEXT("containerd.services.diff.v1.Diff"), methods, {NULL, 0, NULL, NULL, 0}};
static const berth_service *const services[] = {&service_table};
static const berth_plugin plugin = {sizeof(berth_plugin), 1,        BERTH_TEXT("io.containerd.differ.v1"),
                                    BERTH_TEXT("@name@"), services, NULL /* probe */,
                                    init,                 NULL /* start */, handle,
                                    NULL /* stop */};
static const berth_plugin *const plugins[] = {&plugin};
static const berth_module module = {sizeof(berth_module), BERTH_ABI_MAJOR, BERTH_ABI_MINOR, 1, plugins};

__attribute__((visibility("default"))) const berth_module *berth_plugin_entry_v0(void);
const berth_module *berth_plugin_entry_v0(void) { return &module; }
