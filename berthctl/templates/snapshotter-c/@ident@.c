#define _GNU_SOURCE
#include "@ident@.h"

#include <berth/c_helpers.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "messages.h"
#include "tree.h"

#define MOST_LAYERS 500 /* as overlayfs has it */
/* All maps of labels look alike. */
#define LABELS(labels) ((Containerd__Services__Snapshots__V1__Info__LabelsEntry **)(labels))

struct snapshot {
  uint64_t id;
  info_message *info;
  struct snapshot *next; /* in order of names */
};

struct @ident@_plugin {
  char root[PATH_SIZE - 300]; /* leaves room for what is below it */
  pthread_mutex_t mutex;      /* guards what follows, and the disk */
  struct snapshot *first;
  uint64_t last_id;
};

/* -- records ---------------------------------------------------------------------------------------------------- */

static void path_below(const struct @ident@_plugin *self, char *out, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void path_below(const struct @ident@_plugin *self, char *out, const char *format, ...) {
  va_list arguments;
  const int size = snprintf(out, PATH_SIZE, "%s/", self->root);
  va_start(arguments, format);
  (void)vsnprintf(out + size, PATH_SIZE - (size_t)size, format, arguments);
  va_end(arguments);
}

static struct snapshot *find(const struct @ident@_plugin *self, const char *key) {
  struct snapshot *one = self->first;
  while (one != NULL && strcmp(one->info->name, key) != 0) one = one->next;
  return one;
}

static struct snapshot *need(const struct @ident@_plugin *self, const char *key, struct failure *why) {
  struct snapshot *one = find(self, key);
  if (one == NULL) (void)fail(why, BERTH_CODE_NOT_FOUND, "snapshot %.200s: not found", key);
  return one;
}

static void insert(struct @ident@_plugin *self, struct snapshot *one) {
  struct snapshot **at = &self->first;
  while (*at != NULL && strcmp((*at)->info->name, one->info->name) < 0) at = &(*at)->next;
  one->next = *at;
  *at = one;
}

static void take_out(struct @ident@_plugin *self, const struct snapshot *one) {
  struct snapshot **at = &self->first;
  while (*at != one) at = &(*at)->next;
  *at = one->next;
}

static void snapshot_free(struct snapshot *one) {
  if (one == NULL) return;
  if (one->info != NULL) protobuf_c_message_free_unpacked(&one->info->base, NULL);
  free(one);
}

static int32_t store_record(const struct @ident@_plugin *self, uint64_t id, const info_message *info, struct failure *why) {
  char directory[PATH_SIZE];
  char name[32];
  path_below(self, directory, "records");
  (void)snprintf(name, sizeof name, "%" PRIu64, id);
  return store_message(directory, name, &info->base, why);
}

static int32_t check_key(const char *key, struct failure *why) {
  if (key[0] == '\0') return fail(why, BERTH_CODE_INVALID_ARGUMENT, "the key of a snapshot is empty");
  if (!is_text(key)) return fail(why, BERTH_CODE_INVALID_ARGUMENT, "the key of a snapshot is not UTF-8");
  return 0;
}

/* -- trees ------------------------------------------------------------------------------------------------------- */

static void upper_path(const struct @ident@_plugin *self, const struct snapshot *one, char *out) {
  path_below(self, out, "snapshots/%" PRIu64 "/fs", one->id);
}

static int32_t make_tree(const struct @ident@_plugin *self, const struct snapshot *one, const struct snapshot *parent, struct failure *why) {
  char path[PATH_SIZE];
  char lower[PATH_SIZE];
  struct stat status;
  path_below(self, path, "snapshots/%" PRIu64, one->id);
  if (make_directory(path, 0700, why) != 0) return why->code;
  path_below(self, path, "snapshots/%" PRIu64 "/work", one->id);
  if (make_directory(path, 0711, why) != 0) return why->code;
  upper_path(self, one, path);
  if (make_directory(path, 0755, why) != 0) return why->code;
  if (parent == NULL) return 0;
  /* The upper directory is the root of what is mounted and hides the parent's: it has to look alike. */
  upper_path(self, parent, lower);
  if (stat(lower, &status) != 0) return fail_errno(why, errno, lower);
  if (lchown(path, status.st_uid, status.st_gid) != 0 || chmod(path, status.st_mode & 07777) != 0) return fail_errno(why, errno, path);
  return 0;
}

void mounts_free(struct mounts *mounts) {
  size_t i = 0;
  for (i = 0; i < mounts->option_count; ++i) free(mounts->options[i]);
  free(mounts->options);
  free(mounts->type);
  free(mounts->source);
  memset(mounts, 0, sizeof *mounts);
}

static void add_option(struct mounts *mounts, char *option) {
  if (mounts->options != NULL && option != NULL) {
    mounts->options[mounts->option_count++] = option;
  } else {
    free(option);
  }
}

static char *option_of(const char *key, const char *path) {
  char *text = NULL;
  return asprintf(&text, "%s=%s", key, path) < 0 ? NULL : text;
}

/* "lowerdir=…" of all layers from the parent down. NULL: too many, or no memory. */
static char *lower_option(const struct @ident@_plugin *self, const struct snapshot *parent) {
  char *text = strdup("lowerdir=");
  int layers = 0;
  for (; text != NULL && parent != NULL; parent = find(self, parent->info->parent)) {
    char path[PATH_SIZE];
    char *longer = NULL;
    upper_path(self, parent, path);
    if (++layers > MOST_LAYERS || asprintf(&longer, "%s%s%s", text, layers == 1 ? "" : ":", path) < 0) longer = NULL;
    free(text);
    text = longer;
  }
  return text;
}

static int32_t mounts_of(const struct @ident@_plugin *self, const struct snapshot *one, struct mounts *out, struct failure *why) {
  const int writable = one->info->kind == KIND(ACTIVE);
  const struct snapshot *parent = find(self, one->info->parent);
  char path[PATH_SIZE];
  size_t wanted = 2;
  memset(out, 0, sizeof *out);
  out->options = calloc(3, sizeof *out->options);
  /* overlayfs wants a lower layer, and for reading one layer there is nothing to stack. */
  if (parent == NULL || (!writable && parent->info->parent[0] == '\0')) {
    upper_path(self, parent == NULL ? one : parent, path);
    out->type = strdup("bind");
    out->source = strdup(path);
    add_option(out, strdup(writable ? "rw" : "ro"));
    add_option(out, strdup("rbind"));
  } else {
    out->type = strdup("overlay");
    out->source = strdup("overlay");
    wanted = writable ? 3 : 1;
    if (writable) {
      path_below(self, path, "snapshots/%" PRIu64 "/work", one->id);
      add_option(out, option_of("workdir", path));
      upper_path(self, one, path);
      add_option(out, option_of("upperdir", path));
    }
    add_option(out, lower_option(self, parent));
  }
  if (out->type != NULL && out->source != NULL && out->option_count == wanted) return 0;
  mounts_free(out);
  return fail(why, BERTH_CODE_RESOURCE_EXHAUSTED, "mounts of snapshot %.200s: more than %d layers, or no memory", one->info->name,
              MOST_LAYERS);
}

/* Trees without a record: of what was removed, or never recorded. */
static void remove_strays(const struct @ident@_plugin *self) {
  char path[PATH_SIZE];
  struct dirent *entry = NULL;
  struct failure ignored;
  DIR *directory = NULL;
  path_below(self, path, "snapshots");
  directory = opendir(path);
  if (directory == NULL) return;
  while ((entry = readdir(directory)) != NULL) {
    const struct snapshot *one = self->first;
    char *end = NULL;
    const uint64_t id = strtoull(entry->d_name, &end, 10);
    if (entry->d_name[0] == '.' || *end != '\0') continue;
    while (one != NULL && one->id != id) one = one->next;
    if (one != NULL) continue;
    path_below(self, path, "snapshots/%" PRIu64, id);
    (void)remove_tree(path, &ignored);
  }
  closedir(directory);
}

/* -- open and close ----------------------------------------------------------------------------------------------- */

static int32_t load_record(struct @ident@_plugin *self, const char *name, struct failure *why) {
  char path[PATH_SIZE];
  char *end = NULL;
  struct snapshot *one = NULL;
  const uint64_t id = strtoull(name, &end, 10);
  if (*end != '\0') return 0; /* half-written, of before a crash */
  one = calloc(1, sizeof *one);
  if (one == NULL) return fail_errno(why, ENOMEM, "open snapshots");
  path_below(self, path, "records/%" PRIu64, id);
  one->info = (info_message *)load_message(path, &containerd__services__snapshots__v1__info__descriptor, why);
  if (one->info == NULL) {
    free(one);
    return why->code;
  }
  one->id = id;
  if (id > self->last_id) self->last_id = id;
  insert(self, one);
  return 0;
}

struct @ident@_plugin *@ident@_open(const char *root, struct failure *why) {
  char path[PATH_SIZE];
  struct dirent *entry = NULL;
  DIR *directory = NULL;
  struct @ident@_plugin *self = calloc(1, sizeof *self);
  why->code = 0;
  if (self == NULL || strlen(root) >= sizeof self->root) {
    (void)fail(why, BERTH_CODE_INVALID_ARGUMENT, "open %.200s: the path is too long, or no memory", root);
    free(self);
    return NULL;
  }
  (void)strcpy(self->root, root);
  (void)pthread_mutex_init(&self->mutex, NULL);
  path_below(self, path, "snapshots");
  if (make_directory(path, 0700, why) == 0) {
    path_below(self, path, "records");
    (void)make_directory(path, 0700, why);
  }
  if (why->code == 0) {
    directory = opendir(path);
    if (directory == NULL) (void)fail_errno(why, errno, path);
  }
  while (why->code == 0 && (entry = readdir(directory)) != NULL) {
    if (entry->d_name[0] != '.') (void)load_record(self, entry->d_name, why);
  }
  if (directory != NULL) closedir(directory);
  if (why->code != 0) {
    @ident@_close(self);
    return NULL;
  }
  remove_strays(self);
  return self;
}

void @ident@_close(struct @ident@_plugin *self) {
  while (self->first != NULL) {
    struct snapshot *next = self->first->next;
    snapshot_free(self->first);
    self->first = next;
  }
  (void)pthread_mutex_destroy(&self->mutex);
  free(self);
}

/* -- what is asked of it ------------------------------------------------------------------------------------------ */

static int32_t make_locked(struct @ident@_plugin *self, const info_message *info, struct mounts *out, struct failure *why) {
  char path[PATH_SIZE];
  struct failure ignored;
  struct snapshot *parent = NULL;
  struct snapshot *one = NULL;
  if (find(self, info->name) != NULL) return fail(why, BERTH_CODE_ALREADY_EXISTS, "snapshot %.200s: already exists", info->name);
  if (info->parent[0] != '\0') {
    parent = need(self, info->parent, why);
    if (parent == NULL) return why->code;
    if (parent->info->kind != KIND(COMMITTED)) {
      return fail(why, BERTH_CODE_INVALID_ARGUMENT, "parent %.200s is not committed", info->parent);
    }
  }
  one = calloc(1, sizeof *one);
  if (one != NULL) one->info = (info_message *)copy_message(&info->base);
  if (one == NULL || one->info == NULL) {
    snapshot_free(one);
    return fail_errno(why, ENOMEM, "make a snapshot");
  }
  one->id = ++self->last_id;
  if (make_tree(self, one, parent, why) == 0 && mounts_of(self, one, out, why) == 0) {
    if (store_record(self, one->id, one->info, why) == 0) {
      insert(self, one);
      return 0;
    }
    mounts_free(out);
  }
  path_below(self, path, "snapshots/%" PRIu64, one->id);
  (void)remove_tree(path, &ignored);
  snapshot_free(one);
  return why->code;
}

int32_t @ident@_make(struct @ident@_plugin *self, snapshot_kind kind, const char *key, const char *parent, info_label **labels,
                     size_t label_count, struct mounts *out, struct failure *why) {
  Google__Protobuf__Timestamp time;
  info_message info;
  int32_t code = 0;
  if (check_key(key, why) != 0 || check_labels(labels, label_count, why) != 0) return why->code;
  now(&time);
  containerd__services__snapshots__v1__info__init(&info);
  info.name = (char *)key;
  info.parent = (char *)parent;
  info.kind = kind;
  info.created_at = &time;
  info.updated_at = &time;
  info.labels = LABELS(labels);
  info.n_labels = label_count;
  (void)pthread_mutex_lock(&self->mutex);
  code = make_locked(self, &info, out, why);
  (void)pthread_mutex_unlock(&self->mutex);
  return code;
}

int32_t @ident@_mounts(struct @ident@_plugin *self, const char *key, struct mounts *out, struct failure *why) {
  struct snapshot *one = NULL;
  int32_t code = 0;
  (void)pthread_mutex_lock(&self->mutex);
  one = need(self, key, why);
  if (one == NULL) {
    code = why->code;
  } else if (one->info->kind == KIND(COMMITTED)) {
    code = fail(why, BERTH_CODE_FAILED_PRECONDITION, "mounts of snapshot %.200s: it is committed: view it", key);
  } else {
    code = mounts_of(self, one, out, why);
  }
  (void)pthread_mutex_unlock(&self->mutex);
  return code;
}

/* All of a tree's file system; costs what is dirty on it. */
static int32_t sync_tree(const struct @ident@_plugin *self, const struct snapshot *one, struct failure *why) {
  char path[PATH_SIZE];
  int fd = -1;
  int error = 0;
  upper_path(self, one, path);
  fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return fail_errno(why, errno, path);
  if (syncfs(fd) != 0) error = errno;
  close(fd);
  return error == 0 ? 0 : fail_errno(why, error, path);
}

/* The record of a snapshot becomes another one, on disk first. */
static int32_t replace_record(struct @ident@_plugin *self, struct snapshot *one, const info_message *info, struct failure *why) {
  info_message *copy = (info_message *)copy_message(&info->base);
  if (copy == NULL) return fail_errno(why, ENOMEM, "store a record");
  if (store_record(self, one->id, copy, why) != 0) {
    protobuf_c_message_free_unpacked(&copy->base, NULL);
    return why->code;
  }
  take_out(self, one);
  protobuf_c_message_free_unpacked(&one->info->base, NULL);
  one->info = copy;
  insert(self, one);
  return 0;
}

static int32_t commit_locked(struct @ident@_plugin *self, const info_message *committed, const char *key, struct failure *why) {
  info_message info = *committed;
  struct snapshot *one = need(self, key, why);
  if (one == NULL) return why->code;
  if (one->info->kind != KIND(ACTIVE)) return fail(why, BERTH_CODE_FAILED_PRECONDITION, "commit %.200s: it is not active", key);
  if (find(self, info.name) != NULL) return fail(why, BERTH_CODE_ALREADY_EXISTS, "snapshot %.200s: already exists", info.name);
  info.parent = one->info->parent;
  if (sync_tree(self, one, why) != 0) return why->code;
  return replace_record(self, one, &info, why);
}

int32_t @ident@_commit(struct @ident@_plugin *self, const char *name, const char *key, info_label **labels, size_t label_count,
                       struct failure *why) {
  Google__Protobuf__Timestamp time;
  info_message info;
  int32_t code = 0;
  if (check_key(name, why) != 0 || check_labels(labels, label_count, why) != 0) return why->code;
  now(&time);
  containerd__services__snapshots__v1__info__init(&info);
  info.name = (char *)name;
  info.kind = KIND(COMMITTED);
  info.created_at = &time;
  info.updated_at = &time;
  info.labels = LABELS(labels);
  info.n_labels = label_count;
  (void)pthread_mutex_lock(&self->mutex);
  code = commit_locked(self, &info, key, why);
  (void)pthread_mutex_unlock(&self->mutex);
  return code;
}

static int32_t remove_locked(struct @ident@_plugin *self, const char *key, struct failure *why) {
  char path[PATH_SIZE];
  const struct snapshot *other = NULL;
  struct snapshot *one = need(self, key, why);
  if (one == NULL) return why->code;
  for (other = self->first; other != NULL; other = other->next) {
    if (strcmp(other->info->parent, key) == 0) {
      return fail(why, BERTH_CODE_FAILED_PRECONDITION, "remove snapshot %.150s: %.150s is on top of it", key, other->info->name);
    }
  }
  /* The record first: a tree without one is removed at the next start, a record without its tree is damage. */
  path_below(self, path, "records/%" PRIu64, one->id);
  if (unlink(path) != 0) return fail_errno(why, errno, path);
  path_below(self, path, "records");
  if (sync_directory(path, why) != 0) return why->code;
  path_below(self, path, "snapshots/%" PRIu64, one->id);
  take_out(self, one);
  snapshot_free(one);
  (void)remove_tree(path, why);
  return 0;
}

int32_t @ident@_remove(struct @ident@_plugin *self, const char *key, struct failure *why) {
  int32_t code = 0;
  (void)pthread_mutex_lock(&self->mutex);
  code = remove_locked(self, key, why);
  (void)pthread_mutex_unlock(&self->mutex);
  return code;
}

static info_message *copy_of(const struct snapshot *one, struct failure *why) {
  info_message *copy = one == NULL ? NULL : (info_message *)copy_message(&one->info->base);
  if (one != NULL && copy == NULL) (void)fail_errno(why, ENOMEM, "copy a record");
  return copy;
}

info_message *@ident@_stat(struct @ident@_plugin *self, const char *key, struct failure *why) {
  info_message *copy = NULL;
  (void)pthread_mutex_lock(&self->mutex);
  copy = copy_of(need(self, key, why), why);
  (void)pthread_mutex_unlock(&self->mutex);
  return copy;
}

static int32_t update_locked(struct @ident@_plugin *self, struct snapshot *one, const info_message *wanted, char **paths, size_t path_count,
                             struct failure *why) {
  Google__Protobuf__Timestamp time;
  info_message info = *one->info;
  int32_t code = 0;
  info_label **labels =
      updated_labels((info_label **)info.labels, info.n_labels, (info_label **)wanted->labels, wanted->n_labels, paths, path_count, &info.n_labels);
  if (labels == NULL) return fail_errno(why, ENOMEM, "update a record");
  info.labels = LABELS(labels);
  now(&time);
  info.updated_at = &time;
  code = replace_record(self, one, &info, why);
  free(labels);
  return code;
}

info_message *@ident@_update(struct @ident@_plugin *self, const info_message *wanted, char **paths, size_t path_count, struct failure *why) {
  struct snapshot *one = NULL;
  info_message *copy = NULL;
  if (check_label_mask(wanted->name, paths, path_count, why) != 0) return NULL;
  if (check_labels((info_label **)wanted->labels, wanted->n_labels, why) != 0) return NULL;
  (void)pthread_mutex_lock(&self->mutex);
  one = need(self, wanted->name, why);
  if (one != NULL && update_locked(self, one, wanted, paths, path_count, why) == 0) copy = copy_of(one, why);
  (void)pthread_mutex_unlock(&self->mutex);
  return copy;
}

static const char *field_of(const void *thing, const char *field, const char *rest) {
  const info_message *info = thing;
  static const char *const kinds[] = {"unknown", "view", "active", "committed"};
  if (strcmp(field, "name") == 0) return info->name;
  if (strcmp(field, "parent") == 0) return info->parent;
  if (strcmp(field, "kind") == 0) return kinds[info->kind & 3];
  return strcmp(field, "labels") == 0 ? label_value((info_label **)info->labels, info->n_labels, rest) : NULL;
}

info_message **@ident@_list(struct @ident@_plugin *self, const struct filter_set *filters, struct failure *why) {
  const struct snapshot *one = NULL;
  info_message **list = NULL;
  size_t count = 0;
  (void)pthread_mutex_lock(&self->mutex);
  for (one = self->first; one != NULL; one = one->next) ++count;
  list = calloc(count + 1, sizeof *list);
  count = 0;
  for (one = self->first; list != NULL && one != NULL; one = one->next) {
    if (filters_match(filters, field_of, one->info)) {
      list[count] = copy_of(one, why);
      if (list[count++] == NULL) break;
    }
  }
  (void)pthread_mutex_unlock(&self->mutex);
  if (list == NULL) (void)fail_errno(why, ENOMEM, "list snapshots");
  return list;
}

int32_t @ident@_usage(struct @ident@_plugin *self, const char *key, int64_t *bytes, int64_t *inodes, struct failure *why) {
  char path[PATH_SIZE];
  struct snapshot *one = NULL;
  *bytes = 0;
  *inodes = 0;
  (void)pthread_mutex_lock(&self->mutex);
  one = need(self, key, why);
  if (one != NULL) upper_path(self, one, path);
  (void)pthread_mutex_unlock(&self->mutex);
  return one == NULL ? why->code : measure_tree(path, bytes, inodes, why);
}
