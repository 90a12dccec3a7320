/* What is kept of things: messages in files, with labels and times. */
#ifndef RECORDS_H
#define RECORDS_H

#include <protobuf-c/protobuf-c.h>

#include "failure.h"
#include "google/protobuf/timestamp.pb-c.h"

/* Replaces a file by a message durably; readers see the old or the new one. */
int32_t store_message(const char *directory, const char *name, const ProtobufCMessage *message, struct failure *why);
/* To be freed with protobuf_c_message_free_unpacked(). NULL and why: DATA_LOSS for a file that holds no such message. */
ProtobufCMessage *load_message(const char *path, const ProtobufCMessageDescriptor *type, struct failure *why);

void now(Google__Protobuf__Timestamp *out);

/* An entry of any map<string, string>: protobuf-c gives each map a type of its own, and all of them this layout. */
struct label {
  ProtobufCMessage base;
  char *key;
  char *value;
};

int32_t check_labels(struct label *const *labels, size_t count, struct failure *why);
/* NULL when there is none. */
const char *label_value(struct label *const *labels, size_t count, const char *key);
/* A field mask has "labels" and "labels.KEY", nothing else: INVALID_ARGUMENT. `what`: of what, for people. */
int32_t check_label_mask(const char *what, char *const *paths, size_t count, struct failure *why);
/* The labels after an update: those of `wanted` that the mask names, or all without one, in place of what is there. They are borrowed,
 * the array is to be freed. NULL when memory is gone. */
struct label **updated_labels(struct label *const *there, size_t there_count, struct label *const *wanted, size_t wanted_count,
                              char *const *paths, size_t path_count, size_t *count);

#endif
