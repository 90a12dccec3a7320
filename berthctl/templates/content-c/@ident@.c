#define _GNU_SOURCE
#include "@ident@.h"

#include <berth/c_helpers.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "messages.h"
#include "tree.h"

#define STEP 65536
#define INFO_TYPE &containerd__services__content__v1__info__descriptor
#define STATUS_TYPE &containerd__services__content__v1__status__descriptor

struct @ident@_plugin {
  char root[PATH_SIZE - 300]; /* leaves room for what is below it */
  pthread_mutex_t mutex;      /* guards what follows, and what becomes of info files and blobs */
  struct blob_writer *written;
};

static void path_below(const struct @ident@_plugin *self, char *out, const char *folder, const char *name) {
  (void)snprintf(out, PATH_SIZE, "%s/%s/%s", self->root, folder, name);
}

/* The file of a blob, and of what is known of it. */
static void path_of(const struct @ident@_plugin *self, char *out, const char *folder, const char *digest) {
  path_below(self, out, folder, digest);
  out[strlen(out) - strlen(digest) + strlen(DIGEST_PREFIX) - 1] = '-';
}

/* Any ref is a safe and short name this way. */
static void ingest_path(const struct @ident@_plugin *self, char *out, const char *ref) {
  char digest[DIGEST_SIZE];
  digest_of(ref, strlen(ref), digest);
  path_below(self, out, "ingests", digest + strlen(DIGEST_PREFIX));
}

static int32_t absent(const char *digest, struct failure *why) {
  return fail(why, BERTH_CODE_NOT_FOUND, "content %s: not found", digest);
}

/* -- ingests as they lie on disk ----------------------------------------------------------------------------------- */

/* NULL where there is none, or half of one. */
static status_message *read_status(const char *folder, struct failure *why) {
  char path[PATH_SIZE + 16];
  struct stat data;
  status_message *status = NULL;
  (void)snprintf(path, sizeof path, "%s/status", folder);
  status = (status_message *)load_message(path, STATUS_TYPE, why);
  if (status == NULL) return NULL;
  (void)snprintf(path, sizeof path, "%s/data", folder);
  if (stat(path, &data) != 0 || status->started_at == NULL || status->updated_at == NULL) {
    (void)fail(why, BERTH_CODE_NOT_FOUND, "%.200s: no ingest", folder);
    protobuf_c_message_free_unpacked(&status->base, NULL);
    return NULL;
  }
  status->offset = data.st_size;
  if (data.st_mtim.tv_sec > status->started_at->seconds) status->updated_at->seconds = data.st_mtim.tv_sec;
  return status;
}

/* Calls `take` for each name in a folder of the store until one is not 0. */
static int32_t each_name(const struct @ident@_plugin *self, const char *folder, int32_t (*take)(void *context, const char *name), void *context,
                         struct failure *why) {
  char path[PATH_SIZE];
  const struct dirent *entry = NULL;
  DIR *directory = NULL;
  int32_t code = 0;
  path_below(self, path, folder, "");
  directory = opendir(path);
  if (directory == NULL) return fail_errno(why, errno, path);
  while (code == 0 && (entry = readdir(directory)) != NULL) {
    if (entry->d_name[0] != '.') code = take(context, entry->d_name);
  }
  closedir(directory);
  return code;
}

/* -- open and close ------------------------------------------------------------------------------------------------ */

/* An ingest of before a crash that nobody can name any more. */
static int32_t remove_stray(void *context, const char *name) {
  char path[PATH_SIZE];
  struct failure ignored;
  status_message *status = NULL;
  path_below(context, path, "ingests", name);
  status = read_status(path, &ignored);
  if (status == NULL) {
    (void)remove_tree(path, &ignored);
  } else {
    protobuf_c_message_free_unpacked(&status->base, NULL);
  }
  return 0;
}

struct @ident@_plugin *@ident@_open(const char *root, struct failure *why) {
  static const char *const folders[] = {"blobs", "info", "ingests"};
  char path[PATH_SIZE];
  size_t i = 0;
  struct @ident@_plugin *self = calloc(1, sizeof *self);
  if (self == NULL || strlen(root) >= sizeof self->root) {
    (void)fail(why, BERTH_CODE_INVALID_ARGUMENT, "open %.200s: the path is too long, or no memory", root);
    free(self);
    return NULL;
  }
  (void)strcpy(self->root, root);
  (void)pthread_mutex_init(&self->mutex, NULL);
  why->code = 0;
  for (i = 0; why->code == 0 && i < 3; ++i) {
    path_below(self, path, folders[i], "");
    (void)make_directory(path, 0700, why);
  }
  if (why->code == 0) (void)each_name(self, "ingests", remove_stray, self, why);
  if (why->code == 0) return self;
  @ident@_close(self);
  return NULL;
}

void @ident@_close(struct @ident@_plugin *self) {
  (void)pthread_mutex_destroy(&self->mutex);
  free(self);
}

/* -- blobs --------------------------------------------------------------------------------------------------------- */

info_message *@ident@_info(struct @ident@_plugin *self, const char *digest, struct failure *why) {
  char path[PATH_SIZE];
  struct stat status;
  info_message *info = NULL;
  if (check_digest(digest, why) != 0) return NULL;
  path_of(self, path, "blobs", digest);
  if (stat(path, &status) != 0) {
    (void)absent(digest, why);
    return NULL;
  }
  path_of(self, path, "info", digest);
  info = (info_message *)load_message(path, INFO_TYPE, why);
  if (info != NULL) info->size = status.st_size;
  return info;
}

static int32_t keep_info(const struct @ident@_plugin *self, const info_message *info, struct failure *why) {
  char directory[PATH_SIZE];
  char path[PATH_SIZE];
  path_below(self, directory, "info", "");
  path_of(self, path, "info", info->digest);
  return store_message(directory, strrchr(path, '/') + 1, &info->base, why);
}

static info_message *update_locked(struct @ident@_plugin *self, const info_message *wanted, char **paths, size_t path_count,
                                   struct failure *why) {
  Google__Protobuf__Timestamp time;
  info_message changed;
  info_message *copy = NULL;
  struct label **labels = NULL;
  info_message *info = @ident@_info(self, wanted->digest, why);
  if (info == NULL) return NULL;
  changed = *info;
  labels = updated_labels((struct label **)info->labels, info->n_labels, (struct label **)wanted->labels, wanted->n_labels, paths,
                          path_count, &changed.n_labels);
  changed.labels = (void *)labels;
  now(&time);
  changed.updated_at = &time;
  if (labels != NULL && keep_info(self, &changed, why) == 0) copy = (info_message *)copy_message(&changed.base);
  if (copy == NULL && why->code == 0) (void)fail_errno(why, ENOMEM, "update content");
  free(labels);
  protobuf_c_message_free_unpacked(&info->base, NULL);
  return copy;
}

info_message *@ident@_update(struct @ident@_plugin *self, const info_message *wanted, char **paths, size_t path_count, struct failure *why) {
  info_message *info = NULL;
  if (check_digest(wanted->digest, why) != 0 || check_label_mask(wanted->digest, paths, path_count, why) != 0 ||
      check_labels((struct label **)wanted->labels, wanted->n_labels, why) != 0) {
    return NULL;
  }
  (void)pthread_mutex_lock(&self->mutex);
  info = update_locked(self, wanted, paths, path_count, why);
  (void)pthread_mutex_unlock(&self->mutex);
  return info;
}

int @ident@_open_blob(struct @ident@_plugin *self, const char *digest, struct failure *why) {
  char path[PATH_SIZE];
  int fd = -1;
  if (check_digest(digest, why) != 0) return -1;
  path_of(self, path, "blobs", digest);
  fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) (void)(errno == ENOENT ? absent(digest, why) : fail_errno(why, errno, path));
  return fd;
}

int32_t @ident@_remove(struct @ident@_plugin *self, const char *digest, struct failure *why) {
  char path[PATH_SIZE];
  int32_t code = 0;
  if (check_digest(digest, why) != 0) return why->code;
  (void)pthread_mutex_lock(&self->mutex);
  path_of(self, path, "blobs", digest);
  if (unlink(path) != 0) code = errno == ENOENT ? absent(digest, why) : fail_errno(why, errno, path);
  path_of(self, path, "info", digest);
  if (code == 0) (void)unlink(path); /* a leftover of it says nothing without its blob */
  (void)pthread_mutex_unlock(&self->mutex);
  return code;
}

/* -- lists ---------------------------------------------------------------------------------------------------------- */

struct listing {
  struct @ident@_plugin *store;
  const struct filter_set *filters;
  ProtobufCMessage **found;
  size_t count, room;
  struct failure *why;
};

static const char *field_of_info(const void *thing, const char *field, const char *rest) {
  const info_message *info = thing;
  if (strcmp(field, "digest") == 0) return info->digest;
  return strcmp(field, "labels") == 0 ? label_value((struct label **)info->labels, info->n_labels, rest) : NULL;
}

static const char *field_of_status(const void *thing, const char *field, const char *rest) {
  (void)rest;
  return strcmp(field, "ref") == 0 ? ((const status_message *)thing)->ref : NULL;
}

/* Takes what is not NULL and matches. */
static int32_t add(struct listing *list, ProtobufCMessage *one, field_lookup lookup) {
  if (one == NULL) return 0; /* it went meanwhile, or is no whole one */
  if (!filters_match(list->filters, lookup, one)) {
    protobuf_c_message_free_unpacked(one, NULL);
    return 0;
  }
  if (list->count + 1 >= list->room) { /* one for the end */
    const size_t room = 2 * list->room + 64;
    ProtobufCMessage **more = realloc(list->found, room * sizeof *more);
    if (more == NULL) {
      protobuf_c_message_free_unpacked(one, NULL);
      return fail_errno(list->why, ENOMEM, "list content");
    }
    list->found = more;
    list->room = room;
  }
  list->found[list->count++] = one;
  return 0;
}

static int32_t add_info(void *context, const char *name) {
  struct listing *list = context;
  struct failure ignored;
  char digest[DIGEST_SIZE];
  (void)snprintf(digest, sizeof digest, "%s", name);
  digest[strlen(DIGEST_PREFIX) - 1] = ':';
  return add(list, (ProtobufCMessage *)@ident@_info(list->store, digest, &ignored), field_of_info);
}

static int32_t add_status(void *context, const char *name) {
  struct listing *list = context;
  struct failure ignored;
  char path[PATH_SIZE];
  path_below(list->store, path, "ingests", name);
  return add(list, (ProtobufCMessage *)read_status(path, &ignored), field_of_status);
}

static ProtobufCMessage **list_of(struct @ident@_plugin *self, const struct filter_set *filters, const char *folder,
                                  int32_t (*take)(void *context, const char *name), struct failure *why) {
  struct listing list = {self, filters, calloc(1, sizeof *list.found), 0, 1, why};
  size_t i = 0;
  if (list.found == NULL) {
    (void)fail_errno(why, ENOMEM, "list content");
    return NULL;
  }
  if (each_name(self, folder, take, &list, why) != 0) {
    for (i = 0; i < list.count; ++i) protobuf_c_message_free_unpacked(list.found[i], NULL);
    free(list.found);
    return NULL;
  }
  list.found[list.count] = NULL;
  return list.found;
}

info_message **@ident@_list(struct @ident@_plugin *self, const struct filter_set *filters, struct failure *why) {
  return (info_message **)list_of(self, filters, "blobs", add_info, why);
}

status_message **@ident@_statuses(struct @ident@_plugin *self, const struct filter_set *filters, struct failure *why) {
  return (status_message **)list_of(self, filters, "ingests", add_status, why);
}

/* -- ingests ---------------------------------------------------------------------------------------------------------- */

status_message *@ident@_status(struct @ident@_plugin *self, const char *ref, struct failure *why) {
  char folder[PATH_SIZE];
  status_message *status = NULL;
  ingest_path(self, folder, ref);
  status = read_status(folder, why);
  if (status == NULL) (void)fail(why, BERTH_CODE_NOT_FOUND, "ingest %.200s: not found", ref);
  return status;
}

int32_t @ident@_abort(struct @ident@_plugin *self, const char *ref, struct failure *why) {
  char folder[PATH_SIZE];
  ingest_path(self, folder, ref);
  if (access(folder, F_OK) != 0) return fail(why, BERTH_CODE_NOT_FOUND, "ingest %.200s: not found", ref);
  return remove_tree(folder, why);
}

static int32_t hold(struct blob_writer *self, struct failure *why) {
  const struct blob_writer *other = NULL;
  (void)pthread_mutex_lock(&self->store->mutex);
  for (other = self->store->written; other != NULL && strcmp(other->ref, self->ref) != 0; other = other->next) continue;
  if (other == NULL) {
    self->next = self->store->written;
    self->store->written = self;
    self->holds = 1;
  }
  (void)pthread_mutex_unlock(&self->store->mutex);
  if (self->holds) return 0;
  return fail(why, BERTH_CODE_UNAVAILABLE, "ref %.200s is locked by another writer: unavailable", self->ref);
}

static void let_go(struct blob_writer *self) {
  struct blob_writer **at = NULL;
  if (!self->holds) return;
  (void)pthread_mutex_lock(&self->store->mutex);
  for (at = &self->store->written; *at != self; at = &(*at)->next) continue;
  *at = self->next;
  (void)pthread_mutex_unlock(&self->store->mutex);
  self->holds = 0;
}

/* What is there is hashed again: it may have changed meanwhile. */
static int32_t hash_data(struct blob_writer *self, struct failure *why) {
  char buffer[STEP];
  ssize_t count = 1;
  sha256_begin(&self->sum);
  self->status.offset = 0;
  while (count != 0) {
    count = pread(self->data, buffer, sizeof buffer, self->status.offset);
    if (count < 0 && errno != EINTR) return fail_errno(why, errno, self->folder);
    if (count <= 0) continue;
    sha256_add(&self->sum, buffer, (size_t)count);
    self->status.offset += count;
  }
  return 0;
}

static int32_t open_ingest(struct blob_writer *self, struct failure *why) {
  char path[PATH_SIZE + 16];
  struct failure ignored;
  status_message *before = NULL;
  ingest_path(self->store, self->folder, self->ref);
  before = read_status(self->folder, &ignored);
  if (before != NULL) {
    self->started = *before->started_at;
    self->updated = *before->updated_at;
    self->status.total = before->total;
    protobuf_c_message_free_unpacked(&before->base, NULL);
  } else if (make_directory(self->folder, 0700, why) != 0 || store_message(self->folder, "status", &self->status.base, why) != 0) {
    return why->code;
  }
  (void)snprintf(path, sizeof path, "%s/data", self->folder);
  self->data = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  return self->data < 0 ? fail_errno(why, errno, path) : hash_data(self, why);
}

struct blob_writer *writer_begin(struct @ident@_plugin *store, const char *ref, int64_t total, struct failure *why) {
  struct blob_writer *self = calloc(1, sizeof *self);
  if (self == NULL || (self->ref = strdup(ref)) == NULL) {
    free(self);
    (void)fail_errno(why, ENOMEM, "begin an ingest");
    return NULL;
  }
  self->store = store;
  self->data = -1;
  containerd__services__content__v1__status__init(&self->status);
  now(&self->started);
  self->updated = self->started;
  self->status.ref = self->ref;
  self->status.total = total;
  self->status.started_at = &self->started;
  self->status.updated_at = &self->updated;
  if (hold(self, why) == 0 && open_ingest(self, why) == 0) return self;
  writer_end(self);
  return NULL;
}

void writer_end(struct blob_writer *self) {
  if (self == NULL) return;
  let_go(self);
  if (self->data >= 0) close(self->data);
  free(self->ref);
  free(self);
}

int32_t writer_write(struct blob_writer *self, const void *bytes, size_t size, struct failure *why) {
  size_t done = 0;
  while (done < size) {
    const ssize_t count = pwrite(self->data, (const char *)bytes + done, size - done, self->status.offset + (off_t)done);
    if (count < 0 && errno != EINTR) {
      (void)fail_errno(why, errno, self->folder);
      /* Nothing of a piece that did not fit stays. */
      if (ftruncate(self->data, self->status.offset) != 0) (void)fail_errno(why, errno, self->folder);
      return why->code;
    }
    if (count > 0) done += (size_t)count;
  }
  sha256_add(&self->sum, bytes, size);
  self->status.offset += (int64_t)size;
  now(&self->updated);
  return 0;
}

int32_t writer_truncate(struct blob_writer *self, struct failure *why) {
  if (ftruncate(self->data, 0) != 0) return fail_errno(why, errno, self->folder);
  sha256_begin(&self->sum);
  self->status.offset = 0;
  return 0;
}

static int32_t publish_locked(struct blob_writer *self, const info_message *info, struct failure *why) {
  char data[PATH_SIZE + 16];
  char blob[PATH_SIZE];
  path_of(self->store, blob, "blobs", info->digest);
  if (access(blob, F_OK) == 0) return fail(why, BERTH_CODE_ALREADY_EXISTS, "content %s: already exists", info->digest);
  /* What is known of a blob is there before it is. */
  if (keep_info(self->store, info, why) != 0) return why->code;
  (void)snprintf(data, sizeof data, "%s/data", self->folder);
  if (rename(data, blob) != 0) return fail_errno(why, errno, blob);
  path_below(self->store, blob, "blobs", "");
  return sync_directory(blob, why);
}

int32_t writer_commit(struct blob_writer *self, int64_t total, const char *expected, struct label **labels, size_t label_count,
                      struct failure *why) {
  char digest[DIGEST_SIZE];
  Google__Protobuf__Timestamp time;
  struct failure ignored;
  info_message info;
  int32_t code = 0;
  sha256_digest(&self->sum, digest);
  if (total > 0 && total != self->status.offset) {
    return fail(why, BERTH_CODE_FAILED_PRECONDITION, "commit ingest %.200s: it has %lld bytes and not %lld", self->ref,
                (long long)self->status.offset, (long long)total);
  }
  if (expected[0] != '\0' && strcmp(expected, digest) != 0) {
    return fail(why, BERTH_CODE_FAILED_PRECONDITION, "commit ingest %.200s: its digest is %s and not %s", self->ref, digest, expected);
  }
  if (fsync(self->data) != 0) return fail_errno(why, errno, self->folder);
  containerd__services__content__v1__info__init(&info);
  now(&time);
  info.digest = digest;
  info.size = self->status.offset;
  info.created_at = &time;
  info.updated_at = &time;
  info.labels = (void *)labels;
  info.n_labels = label_count;
  (void)pthread_mutex_lock(&self->store->mutex);
  code = publish_locked(self, &info, why);
  (void)pthread_mutex_unlock(&self->store->mutex);
  if (code != 0 && code != BERTH_CODE_ALREADY_EXISTS) return code;
  (void)remove_tree(self->folder, &ignored);
  let_go(self); /* who hears of a commit may use the ref again */
  return code;
}
