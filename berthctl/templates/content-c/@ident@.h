/* A content store in files: <root>/blobs/sha256-HEX the bytes, <root>/info/sha256-HEX what is known of them (a message Info), and
 * <root>/ingests/HEX-OF-REF/{data,status} what is on its way in. Functions return 0, or a code and why. Any thread. */
#ifndef @IDENT@_H
#define @IDENT@_H

#include "containerd/services/content/v1/content.pb-c.h"
#include "digest.h"
#include "failure.h"
#include "filter.h"
#include "records.h"

typedef Containerd__Services__Content__V1__Info info_message;
typedef Containerd__Services__Content__V1__Status status_message;

struct @ident@_plugin;

/* Finds what an earlier life left below `root`, which must be there. NULL and why. */
struct @ident@_plugin *@ident@_open(const char *root, struct failure *why);
void @ident@_close(struct @ident@_plugin *self);

/* Messages are to be freed with protobuf_c_message_free_unpacked(). NULL and why. */
info_message *@ident@_info(struct @ident@_plugin *self, const char *digest, struct failure *why);
/* Labels by a field mask: "labels", "labels.KEY", or none for all of them. Gives what is known then. */
info_message *@ident@_update(struct @ident@_plugin *self, const info_message *wanted, char **paths, size_t path_count, struct failure *why);
/* A descriptor, to be closed; -1 and why. */
int @ident@_open_blob(struct @ident@_plugin *self, const char *digest, struct failure *why);
int32_t @ident@_remove(struct @ident@_plugin *self, const char *digest, struct failure *why);
/* Those that match, ended by NULL; free each and the array. NULL and why. */
info_message **@ident@_list(struct @ident@_plugin *self, const struct filter_set *filters, struct failure *why);

status_message *@ident@_status(struct @ident@_plugin *self, const char *ref, struct failure *why);
status_message **@ident@_statuses(struct @ident@_plugin *self, const struct filter_set *filters, struct failure *why);
int32_t @ident@_abort(struct @ident@_plugin *self, const char *ref, struct failure *why);

#define WRITER_PATH_SIZE 4096

/* What one writer does; one thread at a time. `status.offset` is where it stands. */
struct blob_writer {
  struct @ident@_plugin *store;
  status_message status;
  Google__Protobuf__Timestamp started, updated; /* what status points at */
  char *ref;
  char folder[WRITER_PATH_SIZE];
  int data;
  struct sha256 sum;
  struct blob_writer *next; /* of those that are being written */
  int holds;           /* its ref */
};

/* The one writer of a ref, with what an earlier one left: UNAVAILABLE while there is another. NULL and why. */
struct blob_writer *writer_begin(struct @ident@_plugin *store, const char *ref, int64_t total, struct failure *why);
/* What was written stays for the next writer, unless it was committed. */
void writer_end(struct blob_writer *self);
int32_t writer_write(struct blob_writer *self, const void *bytes, size_t size, struct failure *why);
int32_t writer_truncate(struct blob_writer *self, struct failure *why);
/* Durable when this returns 0. FAILED_PRECONDITION: other bytes are expected ("" and 0 expect nothing), and what is there stays.
 * ALREADY_EXISTS: the ingest goes. */
int32_t writer_commit(struct blob_writer *self, int64_t total, const char *expected, struct label **labels, size_t label_count,
                      struct failure *why);

#endif
