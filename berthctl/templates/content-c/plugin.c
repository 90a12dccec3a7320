/* What the daemon calls: messages in, messages out. The rules of each call stand in berth/abi.h. */
#define _GNU_SOURCE
#include <berth/c_helpers.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "@ident@.h"
#include "messages.h"

#define TYPE(name) Containerd__Services__Content__V1__##name
#define DESCRIPTOR(name) &containerd__services__content__v1__##name##__descriptor
#define INIT(name) containerd__services__content__v1__##name##__init
#define CHUNK (1 << 20)

/* One instance. The host never unloads a plugin, so it is never freed. */
struct instance {
  const berth_host *host;
  struct @ident@_plugin *store;
};

/* A method: 0 when it has answered, else why the call fails. */
typedef int32_t (*method_function)(const struct instance *self, berth_call *call, const ProtobufCMessage *request, struct failure *why);

static int32_t answer_nothing(const struct instance *self, berth_call *call) {
  Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
  answer_message(self->host, call, &empty.base);
  return 0;
}

/* InfoResponse and UpdateResponse look alike. */
static int32_t answer_info(const struct instance *self, berth_call *call, info_message *info, const struct failure *why) {
  TYPE(InfoResponse) response;
  if (info == NULL) return why->code;
  INIT(info_response)(&response);
  response.info = info;
  answer_message(self->host, call, &response.base);
  protobuf_c_message_free_unpacked(&info->base, NULL);
  return 0;
}

static int32_t info(const struct instance *self, berth_call *call, const ProtobufCMessage *message, struct failure *why) {
  const TYPE(InfoRequest) *request = (const TYPE(InfoRequest) *)message;
  return answer_info(self, call, @ident@_info(self->store, request->digest, why), why);
}

static int32_t update(const struct instance *self, berth_call *call, const ProtobufCMessage *message, struct failure *why) {
  const TYPE(UpdateRequest) *request = (const TYPE(UpdateRequest) *)message;
  const Google__Protobuf__FieldMask *mask = request->update_mask;
  if (request->info == NULL) return fail(why, BERTH_CODE_INVALID_ARGUMENT, "update: the request names no content");
  return answer_info(self, call,
                     @ident@_update(self->store, request->info, mask == NULL ? NULL : mask->paths, mask == NULL ? 0 : mask->n_paths, why), why);
}

static int32_t list(const struct instance *self, berth_call *call, const ProtobufCMessage *message, struct failure *why) {
  enum { BATCH = 100 };
  const TYPE(ListContentRequest) *request = (const TYPE(ListContentRequest) *)message;
  struct filter_set *filters = filters_parse(request->filters, request->n_filters, why);
  info_message **all = filters == NULL ? NULL : @ident@_list(self->store, filters, why);
  size_t count = 0;
  size_t at = 0;
  int32_t code = all == NULL ? why->code : 0;
  while (all != NULL && all[count] != NULL) ++count;
  for (at = 0; code == 0 && at < count; at += BATCH) {
    TYPE(ListContentResponse) response;
    INIT(list_content_response)(&response);
    response.info = all + at;
    response.n_info = count - at < BATCH ? count - at : BATCH;
    code = send_message(self->host, call, &response.base, why);
  }
  for (at = 0; at < count; ++at) protobuf_c_message_free_unpacked(&all[at]->base, NULL);
  free(all);
  filters_free(filters);
  if (code == 0) self->host->finish(call, NULL, NULL);
  return code;
}

static int32_t delete_one(const struct instance *self, berth_call *call, const ProtobufCMessage *message, struct failure *why) {
  const TYPE(DeleteContentRequest) *request = (const TYPE(DeleteContentRequest) *)message;
  if (@ident@_remove(self->store, request->digest, why) != 0) return why->code;
  return answer_nothing(self, call);
}

/* Sends bytes of a blob from `offset` to `end`. */
static int32_t send_range(const struct instance *self, berth_call *call, int fd, int64_t offset, int64_t end, struct failure *why) {
  uint8_t *buffer = malloc(CHUNK);
  int32_t code = buffer == NULL ? fail_errno(why, ENOMEM, "read content") : 0;
  while (code == 0 && offset < end) {
    TYPE(ReadContentResponse) response;
    const ssize_t count = pread(fd, buffer, end - offset < CHUNK ? (size_t)(end - offset) : CHUNK, offset);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      code = count < 0 ? fail_errno(why, errno, "read content") : fail(why, BERTH_CODE_DATA_LOSS, "content ends before its size");
      break;
    }
    INIT(read_content_response)(&response);
    response.offset = offset;
    response.data.data = buffer;
    response.data.len = (size_t)count;
    code = send_message(self->host, call, &response.base, why);
    offset += count;
  }
  free(buffer);
  return code;
}

static int32_t read_range(const struct instance *self, berth_call *call, const ProtobufCMessage *message, struct failure *why) {
  const TYPE(ReadContentRequest) *request = (const TYPE(ReadContentRequest) *)message;
  const int64_t offset = request->offset < 0 ? 0 : request->offset;
  const int fd = @ident@_open_blob(self->store, request->digest, why);
  const int64_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
  int32_t code = 0;
  if (fd < 0) return why->code;
  if (offset > size) {
    code = fail(why, BERTH_CODE_OUT_OF_RANGE, "read content %s at offset %lld: it has %lld bytes", request->digest, (long long)offset,
                (long long)size);
  } else {
    const int64_t left = size - offset;
    code = send_range(self, call, fd, offset, offset + (request->size <= 0 || request->size > left ? left : request->size), why);
  }
  close(fd);
  if (code == 0) self->host->finish(call, NULL, NULL);
  return code;
}

static int32_t status(const struct instance *self, berth_call *call, const ProtobufCMessage *message, struct failure *why) {
  const TYPE(StatusRequest) *request = (const TYPE(StatusRequest) *)message;
  TYPE(StatusResponse) response;
  status_message *found = @ident@_status(self->store, request->ref, why);
  if (found == NULL) return why->code;
  INIT(status_response)(&response);
  response.status = found;
  answer_message(self->host, call, &response.base);
  protobuf_c_message_free_unpacked(&found->base, NULL);
  return 0;
}

static int32_t list_statuses(const struct instance *self, berth_call *call, const ProtobufCMessage *message, struct failure *why) {
  const TYPE(ListStatusesRequest) *request = (const TYPE(ListStatusesRequest) *)message;
  TYPE(ListStatusesResponse) response;
  struct filter_set *filters = filters_parse(request->filters, request->n_filters, why);
  status_message **all = filters == NULL ? NULL : @ident@_statuses(self->store, filters, why);
  size_t i = 0;
  filters_free(filters);
  if (all == NULL) return why->code;
  INIT(list_statuses_response)(&response);
  response.statuses = all;
  while (all[response.n_statuses] != NULL) ++response.n_statuses;
  answer_message(self->host, call, &response.base);
  for (i = 0; i < response.n_statuses; ++i) protobuf_c_message_free_unpacked(&all[i]->base, NULL);
  free(all);
  return 0;
}

static int32_t abort_one(const struct instance *self, berth_call *call, const ProtobufCMessage *message, struct failure *why) {
  const TYPE(AbortRequest) *request = (const TYPE(AbortRequest) *)message;
  if (@ident@_abort(self->store, request->ref, why) != 0) return why->code;
  return answer_nothing(self, call);
}

/* A call of Write. What is expected may be told with any message; the last one counts. */
struct writing {
  struct blob_writer *ingest;
  char expected[DIGEST_SIZE];
  int64_t total;
};

/* The first message names the ref. */
static int32_t begin(const struct instance *self, struct writing *writing, const TYPE(WriteContentRequest) *request,
                     struct failure *why) {
  if (request->ref[0] == '\0') return fail(why, BERTH_CODE_INVALID_ARGUMENT, "write content: the first message must have a ref");
  if (!is_text(request->ref)) return fail(why, BERTH_CODE_INVALID_ARGUMENT, "write content: the ref is not UTF-8");
  writing->ingest = writer_begin(self->store, request->ref, request->total, why);
  return writing->ingest == NULL ? why->code : 0;
}

static int32_t expect(const struct instance *self, struct writing *writing, const TYPE(WriteContentRequest) *request,
                      struct failure *why) {
  struct failure absent;
  info_message *there = NULL;
  if (request->total > 0) writing->total = request->total;
  if (request->expected[0] == '\0') return 0;
  if (check_digest(request->expected, why) != 0) return why->code;
  (void)strcpy(writing->expected, request->expected);
  there = @ident@_info(self->store, request->expected, &absent);
  if (there == NULL) return 0;
  protobuf_c_message_free_unpacked(&there->base, NULL); /* somebody was faster */
  (void)@ident@_abort(self->store, writing->ingest->ref, &absent);
  return fail(why, BERTH_CODE_ALREADY_EXISTS, "content %s: already exists", request->expected);
}

static int32_t take(struct writing *writing, const TYPE(WriteContentRequest) *request, struct failure *why) {
  struct blob_writer *ingest = writing->ingest;
  if (request->offset > 0 && request->offset != ingest->status.offset) {
    return fail(why, BERTH_CODE_OUT_OF_RANGE, "write to ingest %.200s at offset %lld: it is at %lld", ingest->ref,
                (long long)request->offset, (long long)ingest->status.offset);
  }
  if (request->offset == 0 && ingest->status.offset > 0 && writer_truncate(ingest, why) != 0) return why->code;
  return writer_write(ingest, request->data.data, request->data.len, why);
}

/* One message, and its answer. */
static int32_t write_step(const struct instance *self, berth_call *call, struct writing *writing,
                          const TYPE(WriteContentRequest) *request, struct failure *why) {
  TYPE(WriteContentResponse) response;
  char digest[DIGEST_SIZE];
  if (request->offset < 0 || request->total < 0) return fail(why, BERTH_CODE_INVALID_ARGUMENT, "write content: a number is negative");
  if (writing->ingest == NULL && begin(self, writing, request, why) != 0) return why->code;
  if (expect(self, writing, request, why) != 0) return why->code;
  if (request->action != CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__STAT && take(writing, request, why) != 0) return why->code;
  sha256_digest(&writing->ingest->sum, digest);
  if (request->action == CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__COMMIT &&
      (check_labels((struct label **)request->labels, request->n_labels, why) != 0 ||
       writer_commit(writing->ingest, writing->total, writing->expected, (struct label **)request->labels, request->n_labels, why) != 0)) {
    return why->code;
  }
  INIT(write_content_response)(&response);
  response.action = request->action;
  response.offset = writing->ingest->status.offset;
  response.total = writing->total;
  response.digest = digest;
  response.started_at = writing->ingest->status.started_at;
  response.updated_at = writing->ingest->status.updated_at;
  return send_message(self->host, call, &response.base, why);
}

/* Each message is answered before the next is read. A commit, or an error, ends the call; without one, what was written stays for the
 * next writer. */
static int32_t write_content(const struct instance *self, berth_call *call, const ProtobufCMessage *none, struct failure *why) {
  struct writing writing = {NULL, "", 0};
  int committed = 0;
  int32_t code = 0;
  (void)none;
  while (code == 0 && !committed) {
    ProtobufCMessage *message = NULL;
    code = receive_message(self->host, call, DESCRIPTOR(write_content_request), &message, why);
    if (message == NULL) break;
    code = write_step(self, call, &writing, (const TYPE(WriteContentRequest) *)message, why);
    committed = ((const TYPE(WriteContentRequest) *)message)->action == CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__COMMIT;
    protobuf_c_message_free_unpacked(message, NULL);
  }
  writer_end(writing.ingest);
  if (code == 0) self->host->finish(call, NULL, NULL);
  return code;
}

#define BOTH_STREAMS (BERTH_METHOD_CLIENT_STREAM | BERTH_METHOD_SERVER_STREAM)
static const berth_method methods[] = {{BERTH_TEXT("Info"), 0, 0},
                                       {BERTH_TEXT("Update"), 0, 0},
                                       {BERTH_TEXT("List"), BERTH_METHOD_SERVER_STREAM, 0},
                                       {BERTH_TEXT("Delete"), 0, 0},
                                       {BERTH_TEXT("Read"), BERTH_METHOD_SERVER_STREAM, 0},
                                       {BERTH_TEXT("Status"), 0, 0},
                                       {BERTH_TEXT("ListStatuses"), 0, 0},
                                       {BERTH_TEXT("Write"), BOTH_STREAMS, 0},
                                       {BERTH_TEXT("Abort"), 0, 0}};

static const struct {
  const ProtobufCMessageDescriptor *request; /* NULL: a client stream */
  method_function function;
} functions[] = {{DESCRIPTOR(info_request), info},
                 {DESCRIPTOR(update_request), update},
                 {DESCRIPTOR(list_content_request), list},
                 {DESCRIPTOR(delete_content_request), delete_one},
                 {DESCRIPTOR(read_content_request), read_range},
                 {DESCRIPTOR(status_request), status},
                 {DESCRIPTOR(list_statuses_request), list_statuses},
                 {NULL, write_content},
                 {DESCRIPTOR(abort_request), abort_one}};

/* Any thread, several at once. Each call ends with exactly one answer. */
static void handle(void *instance, uint32_t service, uint32_t method, berth_call *call) {
  const struct instance *self = instance;
  struct failure why = {0, ""};
  ProtobufCMessage *request = NULL;
  (void)service; /* there is one */
  if (functions[method].request != NULL) {
    request = unpack_request(self->host, call, functions[method].request);
    if (request == NULL) return;
  }
  if (functions[method].function(self, call, request, &why) != 0) answer_failure(self->host, call, &why);
  if (request != NULL) protobuf_c_message_free_unpacked(request, NULL);
}

/* Runs once, before any call. What berth_failed() says is what the administrator reads. */
static int32_t init(const berth_host *host, berth_self *self, void **out) {
  struct failure why = {0, ""};
  berth_str root = host->config(self, berth_text("root_path"));
  struct instance *instance = malloc(sizeof *instance);
  char *path = copy_text(root.size != 0 ? root : host->property(self, berth_text("root")));
  if (instance == NULL || path == NULL) {
    free(instance);
    free(path);
    return berth_failed(host, self, BERTH_CODE_RESOURCE_EXHAUSTED, "@name@: no memory for the instance");
  }
  instance->host = host;
  instance->store = @ident@_open(path, &why);
  free(path);
  if (instance->store == NULL) {
    free(instance);
    return berth_failed(host, self, why.code, why.text);
  }
  *out = instance;
  return 0;
}

static const berth_service service_table = {sizeof(berth_service), sizeof methods / sizeof methods[0],
                                            BERTH_TEXT("containerd.services.content.v1.Content"), methods, {NULL, 0, NULL, NULL, 0}};
static const berth_service *const services[] = {&service_table};
static const berth_plugin plugin = {sizeof(berth_plugin), 1,        BERTH_TEXT("io.containerd.content.v1"),
                                    BERTH_TEXT("@name@"), services, NULL /* probe */,
                                    init,                 NULL /* start */, handle,
                                    NULL /* stop */};
static const berth_plugin *const plugins[] = {&plugin};
static const berth_module module = {sizeof(berth_module), BERTH_ABI_MAJOR, BERTH_ABI_MINOR, 1, plugins};

__attribute__((visibility("default"))) const berth_module *berth_plugin_entry_v0(void);
const berth_module *berth_plugin_entry_v0(void) { return &module; }
