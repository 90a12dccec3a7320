#define _GNU_SOURCE
#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Trees are walked from one directory to the next by descriptors, so that nobody who swaps a directory for a link leads the walk elsewhere.
 * A container makes them deeper than a path may be, than the stack of a handler has room for and than there are descriptors: a walk calls
 * itself nowhere, and has one directory open. */

struct name {
  struct name *next;
  char text[];
};

/* A directory between the root of a walk and where it is. */
struct level {
  struct level *above;
  struct name *inside; /* still to visit */
  struct name *own;
  dev_t device;
  ino_t inode;
};

/* Both may be NULL. -1 and errno: the walk ends. */
struct visitor {
  int (*arrive)(void *context, int parent, const char *name, const struct stat *status); /* at anything, directories before what is inside */
  int (*leave)(void *context, int parent, const char *name);                             /* a directory, after what is inside */
  void *context;
};

static struct name *name_add(struct name **list, const char *text) {
  const size_t size = strlen(text) + 1;
  struct name *one = malloc(sizeof *one + size);
  if (one == NULL) return NULL;
  memcpy(one->text, text, size);
  one->next = *list;
  *list = one;
  return one;
}

static struct name *name_take(struct name **list) {
  struct name *one = *list;
  *list = one->next;
  return one;
}

static void names_free(struct name **list) {
  while (*list != NULL) free(name_take(list));
}

static int read_names(int fd, struct name **list) {
  const struct dirent *entry = NULL;
  DIR *directory = NULL;
  const int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int error = 0;
  directory = copy < 0 ? NULL : fdopendir(copy);
  if (directory == NULL) {
    error = errno;
    if (copy >= 0) close(copy);
    errno = error;
    return -1;
  }
  while (error == 0) {
    errno = 0;
    entry = readdir(directory);
    error = errno;
    if (entry == NULL) break;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    if (name_add(list, entry->d_name) == NULL) error = ENOMEM;
  }
  closedir(directory);
  errno = error;
  return error == 0 ? 0 : -1;
}

/* `at` becomes the directory `name` in it, `top` its level. */
static int go_down(int *at, struct level **top, const char *name) {
  struct stat status;
  struct level *level = calloc(1, sizeof *level);
  int error = 0;
  const int fd = openat(*at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (level == NULL) error = ENOMEM;
  if (fd < 0 || fstat(fd, &status) != 0) error = errno;
  if (error == 0 && (name_add(&level->own, name) == NULL || read_names(fd, &level->inside) != 0)) error = errno;
  if (error != 0) {
    if (level != NULL) {
      names_free(&level->own);
      names_free(&level->inside);
    }
    free(level);
    if (fd >= 0) close(fd);
    errno = error;
    return -1;
  }
  level->device = status.st_dev;
  level->inode = status.st_ino;
  level->above = *top;
  *top = level;
  if (*at >= 0) close(*at);
  *at = fd;
  return 0;
}

/* `at` becomes the directory above it. */
static int go_up(int *at, struct level **top) {
  struct level *done = *top;
  struct stat status;
  int fd = AT_FDCWD; /* above the root */
  *top = done->above;
  free(done);
  if (*top != NULL) {
    fd = openat(*at, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -1;
    if (fstat(fd, &status) != 0 || status.st_dev != (*top)->device || status.st_ino != (*top)->inode) {
      close(fd);
      errno = ESTALE; /* it was moved elsewhere meanwhile */
      return -1;
    }
  }
  close(*at);
  *at = fd;
  return 0;
}

static int visit(const struct visitor *visitor, int *at, struct level **top, const char *name) {
  struct stat status;
  /* What was removed meanwhile is not there. */
  if (fstatat(*at, name, &status, AT_SYMLINK_NOFOLLOW) != 0) return errno == ENOENT && *top != NULL ? 0 : -1;
  if (visitor->arrive(visitor->context, *at, name, &status) != 0) return -1;
  return !S_ISDIR(status.st_mode) || go_down(at, top, name) == 0 || errno == ENOENT ? 0 : -1;
}

static int leave(const struct visitor *visitor, int *at, struct level **top) {
  struct name *own = (*top)->own;
  int result = go_up(at, top);
  if (result == 0 && visitor->leave != NULL) result = visitor->leave(visitor->context, *at, own->text);
  free(own);
  return result;
}

static int walk(const char *path, const struct visitor *visitor) {
  struct level *top = NULL;
  int at = AT_FDCWD;
  int result = visit(visitor, &at, &top, path);
  int error = 0;
  while (result == 0 && top != NULL) {
    if (top->inside == NULL) {
      result = leave(visitor, &at, &top);
    } else {
      struct name *next = name_take(&top->inside);
      result = visit(visitor, &at, &top, next->text);
      free(next);
    }
  }
  error = errno;
  while (top != NULL) {
    struct level *level = top;
    top = level->above;
    names_free(&level->inside);
    names_free(&level->own);
    free(level);
  }
  if (at >= 0) close(at);
  errno = error;
  return result;
}

static int remove_file(void *context, int parent, const char *name, const struct stat *status) {
  (void)context;
  return S_ISDIR(status->st_mode) || unlinkat(parent, name, 0) == 0 || errno == ENOENT ? 0 : -1;
}

static int remove_directory(void *context, int parent, const char *name) {
  (void)context;
  return unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : -1;
}

int32_t remove_tree(const char *path, struct failure *why) {
  const struct visitor visitor = {remove_file, remove_directory, NULL};
  if (walk(path, &visitor) != 0 && errno != ENOENT) return fail_errno(why, errno, path);
  return 0;
}

struct measured {
  int64_t bytes, inodes;
  ino_t *seen; /* of files with several names */
  size_t count, room;
};

/* 1 when a file with several names was counted before. */
static int was_seen(struct measured *self, ino_t inode) {
  size_t i = 0;
  for (i = 0; i < self->count; ++i) {
    if (self->seen[i] == inode) return 1;
  }
  if (self->count == self->room) {
    const size_t room = self->room == 0 ? 64 : 2 * self->room;
    ino_t *seen = realloc(self->seen, room * sizeof *seen);
    if (seen == NULL) return 0;
    self->seen = seen;
    self->room = room;
  }
  self->seen[self->count++] = inode;
  return 0;
}

static int count(void *context, int parent, const char *name, const struct stat *status) {
  struct measured *self = context;
  (void)parent;
  (void)name;
  if (S_ISDIR(status->st_mode) || status->st_nlink < 2 || !was_seen(self, status->st_ino)) {
    self->bytes += (int64_t)status->st_blocks * 512;
    self->inodes += 1;
  }
  return 0;
}

int32_t measure_tree(const char *path, int64_t *bytes, int64_t *inodes, struct failure *why) {
  struct measured self = {0, 0, NULL, 0, 0};
  const struct visitor visitor = {count, NULL, &self};
  const int result = walk(path, &visitor);
  const int error = errno;
  free(self.seen);
  if (result != 0) return fail_errno(why, error, path);
  *bytes = self.bytes;
  *inodes = self.inodes;
  return 0;
}
