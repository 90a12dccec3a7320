#include "blobs.h"

#include <berth/c_helpers.h>

#include "containerd/services/content/v1/content.pb-c.h"
#include "messages.h"

#define TYPE(name) Containerd__Services__Content__V1__##name
#define DESCRIPTOR(name) &containerd__services__content__v1__##name##__descriptor
#define INIT(name) containerd__services__content__v1__##name##__init
#define CHUNK (1 << 20)

int32_t blobs_connect(struct blobs *self, const berth_host *host, berth_self *plugin, struct failure *why) {
  self->host = host;
  self->target = host->connect(plugin, berth_text("content"), 0);
  if (self->target == NULL) return fail(why, BERTH_CODE_INTERNAL, "connect to a content store: there is none");
  self->read = host->resolve(self->target, berth_text("containerd.services.content.v1.Content/Read"));
  self->write = host->resolve(self->target, berth_text("containerd.services.content.v1.Content/Write"));
  self->abort = host->resolve(self->target, berth_text("containerd.services.content.v1.Content/Abort"));
  return 0;
}

static berth_client *begin(const struct blobs *self, const berth_call *parent, uint32_t method) {
  berth_call_options options = {sizeof options, 0, NULL, parent, BERTH_FOREVER};
  return self->host->open(self->target, method, &options);
}

/* How a call ended, in the store's own words. */
static int32_t ending(const struct blobs *self, const berth_client *client, struct failure *why) {
  berth_status status;
  if (self->host->client_status(client, &status) == 0) return fail(why, BERTH_CODE_INTERNAL, "the content store gives no status");
  if (status.code == 0) return 0;
  return fail(why, status.code, "%.*s", (int)(status.message.size < 400 ? status.message.size : 400), status.message.data);
}

/* Nothing is to be said where the call has ended: its status does. */
static void tell(const struct blobs *self, berth_client *client, const ProtobufCMessage *request) {
  berth_message out = berth_new_message(self->host, protobuf_c_message_get_packed_size(request));
  if (out.body.data == NULL) {
    self->host->client_cancel(client);
    return;
  }
  (void)protobuf_c_message_pack(request, berth_message_data(&out));
  if (self->host->client_send(client, &out, BERTH_FOREVER) != BERTH_OK) berth_drop_message(&out);
}

/* The next answer; NULL at the end, and when it is none, which cancels the call. */
static ProtobufCMessage *hear(const struct blobs *self, berth_client *client, const ProtobufCMessageDescriptor *type) {
  berth_message message;
  ProtobufCMessage *answer = NULL;
  if (self->host->client_recv(client, BERTH_FOREVER, &message) != BERTH_OK) return NULL;
  answer = protobuf_c_message_unpack(type, NULL, message.body.size, message.body.data);
  berth_drop_message(&message);
  if (answer == NULL) self->host->client_cancel(client);
  return answer;
}

int32_t blobs_read(const struct blobs *self, berth_call *parent, const char *digest, struct bytes *out, struct failure *why) {
  TYPE(ReadContentRequest) request;
  TYPE(ReadContentResponse) *answer = NULL;
  int32_t code = 0;
  berth_client *client = begin(self, parent, self->read);
  INIT(read_content_request)(&request);
  request.digest = (char *)digest;
  tell(self, client, &request.base);
  self->host->client_half_close(client);
  while (code == 0 && (answer = (TYPE(ReadContentResponse) *)hear(self, client, DESCRIPTOR(read_content_response))) != NULL) {
    if (bytes_add(out, answer->data.data, answer->data.len) != 0) code = fail(why, BERTH_CODE_RESOURCE_EXHAUSTED, "no memory for a layer");
    protobuf_c_message_free_unpacked(&answer->base, NULL);
  }
  if (code == 0) code = ending(self, client, why);
  self->host->client_release(client);
  return code;
}

/* One request of Write, and its answer. */
static int32_t ask(const struct blobs *self, berth_client *client, const TYPE(WriteContentRequest) *request, struct failure *why) {
  ProtobufCMessage *answer = NULL;
  tell(self, client, &request->base);
  answer = hear(self, client, DESCRIPTOR(write_content_response));
  if (answer == NULL) return ending(self, client, why) != 0 ? why->code : fail(why, BERTH_CODE_INTERNAL, "the content store ended early");
  protobuf_c_message_free_unpacked(answer, NULL);
  return 0;
}

int32_t blobs_store(const struct blobs *self, berth_call *parent, const char *ref, const struct bytes *blob, const char *digest,
                    blob_label **labels, size_t label_count, struct failure *why) {
  TYPE(WriteContentRequest) request;
  size_t at = 0;
  int32_t code = 0;
  berth_client *client = begin(self, parent, self->write);
  INIT(write_content_request)(&request);
  request.ref = (char *)ref;
  request.action = CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__WRITE;
  for (at = 0; code == 0 && at < blob->size; at += request.data.len) {
    request.offset = (int64_t)at;
    request.data.data = (uint8_t *)blob->data + at;
    request.data.len = blob->size - at < CHUNK ? blob->size - at : CHUNK;
    code = ask(self, client, &request, why);
  }
  request.data.len = 0;
  request.action = CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__COMMIT;
  request.offset = (int64_t)blob->size;
  request.total = (int64_t)blob->size;
  request.expected = (char *)digest;
  request.labels = (void *)labels; /* all maps of labels look alike */
  request.n_labels = label_count;
  if (code == 0) {
    code = ask(self, client, &request, why);
    if (code == BERTH_CODE_ALREADY_EXISTS) code = why->code = 0; /* the same layer was there; that is what was wanted */
  }
  self->host->client_release(client);
  return code;
}

void blobs_abort(const struct blobs *self, berth_call *parent, const char *ref) {
  TYPE(AbortRequest) request;
  berth_header header = {BERTH_TEXT("containerd-namespace"), {NULL, 0, 0}, 0};
  berth_call_options options = {sizeof options, 1, &header, NULL, BERTH_FOREVER};
  berth_client *client = NULL;
  header.value = self->host->header(parent, header.key);
  INIT(abort_request)(&request);
  request.ref = (char *)ref;
  client = self->host->open(self->target, self->abort, &options);
  tell(self, client, &request.base);
  self->host->client_half_close(client);
  {
    ProtobufCMessage *answer = hear(self, client, &google__protobuf__empty__descriptor);
    if (answer != NULL) protobuf_c_message_free_unpacked(answer, NULL);
  }
  self->host->client_release(client);
}
