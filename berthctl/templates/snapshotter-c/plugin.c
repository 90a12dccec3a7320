/* What the daemon calls: messages in, messages out. The rules of each call stand in berth/abi.h. */
#include <berth/c_helpers.h>
#include <stdlib.h>
#include <string.h>

#include "@ident@.h"
#include "messages.h"

#define TYPE(name) Containerd__Services__Snapshots__V1__##name
#define DESCRIPTOR(name) &containerd__services__snapshots__v1__##name##__descriptor
#define INIT(name) containerd__services__snapshots__v1__##name##__init

/* One instance. The host never unloads a plugin, so it is never freed. */
struct instance {
  const berth_host *host;
  struct @ident@_plugin *snapshots;
};

/* A method: 0 when it has answered, else why the call fails. */
typedef int32_t (*method_function)(const struct instance *self, berth_call *call, const ProtobufCMessage *request, struct failure *why);

/* The responses of Prepare, View and Mounts look alike. */
static int32_t answer_mounts(const struct instance *self, berth_call *call, struct mounts *mounts) {
  Containerd__Types__Mount mount = CONTAINERD__TYPES__MOUNT__INIT;
  Containerd__Types__Mount *list[1];
  TYPE(MountsResponse) response;
  list[0] = &mount;
  mount.type = mounts->type;
  mount.source = mounts->source;
  mount.options = mounts->options;
  mount.n_options = mounts->option_count;
  INIT(mounts_response)(&response);
  response.mounts = list;
  response.n_mounts = 1;
  answer_message(self->host, call, &response.base);
  mounts_free(mounts);
  return 0;
}

static int32_t answer_nothing(const struct instance *self, berth_call *call) {
  Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
  answer_message(self->host, call, &empty.base);
  return 0;
}

/* PrepareSnapshotRequest and ViewSnapshotRequest have the same fields, but not the same type of labels. */
static int32_t prepare(const struct instance *self, berth_call *call, const ProtobufCMessage *message, struct failure *why) {
  const TYPE(PrepareSnapshotRequest) *request = (const TYPE(PrepareSnapshotRequest) *)message;
  struct mounts mounts;
  if (@ident@_make(self->snapshots, KIND(ACTIVE), request->key, request->parent, (info_label **)request->labels, request->n_labels,
                   &mounts, why) != 0) {
    return why->code;
  }
  return answer_mounts(self, call, &mounts);
}

static int32_t view(const struct instance *self, berth_call *call, const ProtobufCMessage *message, struct failure *why) {
  const TYPE(ViewSnapshotRequest) *request = (const TYPE(ViewSnapshotRequest) *)message;
  struct mounts mounts;
  if (@ident@_make(self->snapshots, KIND(VIEW), request->key, request->parent, (info_label **)request->labels, request->n_labels,
                   &mounts, why) != 0) {
    return why->code;
  }
  return answer_mounts(self, call, &mounts);
}

static int32_t mounts_again(const struct instance *self, berth_call *call, const ProtobufCMessage *message, struct failure *why) {
  const TYPE(MountsRequest) *request = (const TYPE(MountsRequest) *)message;
  struct mounts mounts;
  if (@ident@_mounts(self->snapshots, request->key, &mounts, why) != 0) return why->code;
  return answer_mounts(self, call, &mounts);
}

static int32_t commit(const struct instance *self, berth_call *call, const ProtobufCMessage *message, struct failure *why) {
  const TYPE(CommitSnapshotRequest) *request = (const TYPE(CommitSnapshotRequest) *)message;
  if (@ident@_commit(self->snapshots, request->name, request->key, (info_label **)request->labels, request->n_labels, why) != 0) {
    return why->code;
  }
  return answer_nothing(self, call);
}

static int32_t remove_one(const struct instance *self, berth_call *call, const ProtobufCMessage *message, struct failure *why) {
  const TYPE(RemoveSnapshotRequest) *request = (const TYPE(RemoveSnapshotRequest) *)message;
  if (@ident@_remove(self->snapshots, request->key, why) != 0) return why->code;
  return answer_nothing(self, call);
}

/* StatSnapshotResponse and UpdateSnapshotResponse look alike. */
static int32_t answer_info(const struct instance *self, berth_call *call, info_message *info, struct failure *why) {
  TYPE(StatSnapshotResponse) response;
  if (info == NULL) return why->code;
  INIT(stat_snapshot_response)(&response);
  response.info = info;
  answer_message(self->host, call, &response.base);
  protobuf_c_message_free_unpacked(&info->base, NULL);
  return 0;
}

static int32_t stat_one(const struct instance *self, berth_call *call, const ProtobufCMessage *message, struct failure *why) {
  const TYPE(StatSnapshotRequest) *request = (const TYPE(StatSnapshotRequest) *)message;
  return answer_info(self, call, @ident@_stat(self->snapshots, request->key, why), why);
}

static int32_t update(const struct instance *self, berth_call *call, const ProtobufCMessage *message, struct failure *why) {
  const TYPE(UpdateSnapshotRequest) *request = (const TYPE(UpdateSnapshotRequest) *)message;
  const Google__Protobuf__FieldMask *mask = request->update_mask;
  if (request->info == NULL) return fail(why, BERTH_CODE_INVALID_ARGUMENT, "update: the request names no snapshot");
  return answer_info(self, call,
                     @ident@_update(self->snapshots, request->info, mask == NULL ? NULL : mask->paths, mask == NULL ? 0 : mask->n_paths, why),
                     why);
}

static int32_t list(const struct instance *self, berth_call *call, const ProtobufCMessage *message, struct failure *why) {
  enum { BATCH = 100 };
  const TYPE(ListSnapshotsRequest) *request = (const TYPE(ListSnapshotsRequest) *)message;
  struct filter_set *filters = filters_parse(request->filters, request->n_filters, why);
  info_message **all = filters == NULL ? NULL : @ident@_list(self->snapshots, filters, why);
  size_t count = 0;
  size_t at = 0;
  int32_t code = all == NULL ? why->code : 0;
  while (all != NULL && all[count] != NULL) ++count;
  for (at = 0; code == 0 && at < count; at += BATCH) {
    TYPE(ListSnapshotsResponse) response;
    INIT(list_snapshots_response)(&response);
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

static int32_t usage(const struct instance *self, berth_call *call, const ProtobufCMessage *message, struct failure *why) {
  const TYPE(UsageRequest) *request = (const TYPE(UsageRequest) *)message;
  TYPE(UsageResponse) response;
  INIT(usage_response)(&response);
  if (@ident@_usage(self->snapshots, request->key, &response.size, &response.inodes, why) != 0) return why->code;
  answer_message(self->host, call, &response.base);
  return 0;
}

/* Trees go when their snapshots do. */
static int32_t cleanup(const struct instance *self, berth_call *call, const ProtobufCMessage *message, struct failure *why) {
  (void)message;
  (void)why;
  return answer_nothing(self, call);
}

static const berth_method methods[] = {
    {BERTH_TEXT("Prepare"), 0, 0}, {BERTH_TEXT("View"), 0, 0}, {BERTH_TEXT("Mounts"), 0, 0},
    {BERTH_TEXT("Commit"), 0, 0},  {BERTH_TEXT("Remove"), 0, 0}, {BERTH_TEXT("Stat"), 0, 0},
    {BERTH_TEXT("Update"), 0, 0},  {BERTH_TEXT("List"), BERTH_METHOD_SERVER_STREAM, 0},
    {BERTH_TEXT("Usage"), 0, 0},   {BERTH_TEXT("Cleanup"), 0, 0}};

static const struct {
  const ProtobufCMessageDescriptor *request;
  method_function function;
} functions[] = {{DESCRIPTOR(prepare_snapshot_request), prepare}, {DESCRIPTOR(view_snapshot_request), view},
                 {DESCRIPTOR(mounts_request), mounts_again},      {DESCRIPTOR(commit_snapshot_request), commit},
                 {DESCRIPTOR(remove_snapshot_request), remove_one}, {DESCRIPTOR(stat_snapshot_request), stat_one},
                 {DESCRIPTOR(update_snapshot_request), update},   {DESCRIPTOR(list_snapshots_request), list},
                 {DESCRIPTOR(usage_request), usage},              {DESCRIPTOR(cleanup_request), cleanup}};

/* Any thread, several at once. Each call ends with exactly one answer. */
static void handle(void *instance, uint32_t service, uint32_t method, berth_call *call) {
  const struct instance *self = instance;
  struct failure why = {0, ""};
  ProtobufCMessage *request = unpack_request(self->host, call, functions[method].request);
  (void)service; /* there is one */
  if (request == NULL) return;
  if (functions[method].function(self, call, request, &why) != 0) answer_failure(self->host, call, &why);
  protobuf_c_message_free_unpacked(request, NULL);
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
  instance->snapshots = @ident@_open(path, &why);
  free(path);
  if (instance->snapshots == NULL) {
    free(instance);
    return berth_failed(host, self, why.code, why.text);
  }
  *out = instance;
  return 0;
}

static const berth_service service_table = {sizeof(berth_service), sizeof methods / sizeof methods[0],
                                            BERTH_TEXT("containerd.services.snapshots.v1.Snapshots"), methods, {NULL, 0, NULL, NULL, 0}};
static const berth_service *const services[] = {&service_table};
static const berth_plugin plugin = {sizeof(berth_plugin), 1,    BERTH_TEXT("io.containerd.snapshotter.v1"),
                                    BERTH_TEXT("@name@"), services, NULL /* probe */,
                                    init,                 NULL /* start */, handle,
                                    NULL /* stop */};
static const berth_plugin *const plugins[] = {&plugin};
static const berth_module module = {sizeof(berth_module), BERTH_ABI_MAJOR, BERTH_ABI_MINOR, 1, plugins};

__attribute__((visibility("default"))) const berth_module *berth_plugin_entry_v0(void);
const berth_module *berth_plugin_entry_v0(void) { return &module; }
