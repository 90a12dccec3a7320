#define _GNU_SOURCE
#include "records.h"

#include <berth/c_helpers.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "disk.h"
#include "messages.h"

#define LONGEST_LABEL 4096 /* key and value together */

int32_t store_message(const char *directory, const char *name, const ProtobufCMessage *message, struct failure *why) {
  int32_t code = 0;
  const size_t size = protobuf_c_message_get_packed_size(message);
  uint8_t *bytes = malloc(size == 0 ? 1 : size);
  if (bytes == NULL) return fail_errno(why, ENOMEM, "store a record");
  protobuf_c_message_pack(message, bytes);
  code = write_durably(directory, name, bytes, size, why);
  free(bytes);
  return code;
}

ProtobufCMessage *load_message(const char *path, const ProtobufCMessageDescriptor *type, struct failure *why) {
  size_t size = 0;
  ProtobufCMessage *message = NULL;
  uint8_t *bytes = read_whole(path, &size, why);
  if (bytes == NULL) return NULL;
  message = protobuf_c_message_unpack(type, NULL, size, bytes);
  free(bytes);
  if (message == NULL) (void)fail(why, BERTH_CODE_DATA_LOSS, "%.300s is no %s", path, type->name);
  return message;
}

void now(Google__Protobuf__Timestamp *out) {
  struct timespec time;
  (void)clock_gettime(CLOCK_REALTIME, &time);
  google__protobuf__timestamp__init(out);
  out->seconds = time.tv_sec;
  out->nanos = (int32_t)time.tv_nsec;
}

int32_t check_labels(struct label *const *labels, size_t count, struct failure *why) {
  size_t i = 0;
  for (i = 0; i < count; ++i) {
    if (!is_text(labels[i]->key) || !is_text(labels[i]->value)) return fail(why, BERTH_CODE_INVALID_ARGUMENT, "a label is not UTF-8");
    if (strlen(labels[i]->key) + strlen(labels[i]->value) > LONGEST_LABEL) {
      return fail(why, BERTH_CODE_INVALID_ARGUMENT, "label %.100s: key and value have more than %d bytes", labels[i]->key, LONGEST_LABEL);
    }
  }
  return 0;
}

const char *label_value(struct label *const *labels, size_t count, const char *key) {
  size_t i = 0;
  for (i = 0; i < count; ++i) {
    if (strcmp(labels[i]->key, key) == 0) return labels[i]->value;
  }
  return NULL;
}

int32_t check_label_mask(const char *what, char *const *paths, size_t count, struct failure *why) {
  size_t i = 0;
  for (i = 0; i < count; ++i) {
    if (strcmp(paths[i], "labels") != 0 && strncmp(paths[i], "labels.", 7) != 0) {
      return fail(why, BERTH_CODE_INVALID_ARGUMENT, "update %.150s: %.150s cannot be changed", what, paths[i]);
    }
  }
  return 0;
}

/* Whether the request, and not the record, has the say about a label. */
static int is_masked(const char *key, char *const *paths, size_t path_count) {
  size_t i = 0;
  if (path_count == 0) return 1;
  for (i = 0; i < path_count; ++i) {
    if (strcmp(paths[i], "labels") == 0) return 1;
    if (strncmp(paths[i], "labels.", 7) == 0 && strcmp(paths[i] + 7, key) == 0) return 1;
  }
  return 0;
}

struct label **updated_labels(struct label *const *there, size_t there_count, struct label *const *wanted, size_t wanted_count,
                              char *const *paths, size_t path_count, size_t *count) {
  size_t i = 0;
  struct label **labels = calloc(there_count + wanted_count + 1, sizeof *labels);
  *count = 0;
  if (labels == NULL) return NULL;
  for (i = 0; i < there_count; ++i) {
    if (!is_masked(there[i]->key, paths, path_count)) labels[(*count)++] = there[i];
  }
  for (i = 0; i < wanted_count; ++i) {
    if (is_masked(wanted[i]->key, paths, path_count)) labels[(*count)++] = wanted[i];
  }
  return labels;
}
