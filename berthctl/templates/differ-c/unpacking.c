#define _GNU_SOURCE
#include <archive.h>
#include <archive_entry.h>
#include <berth/c_helpers.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layer.h"

#define WHITEOUT ".wh."
#define OPAQUE ".wh..wh..opq"
#define PATH_SIZE 4096 /* as much as the kernel takes */

struct unpacker {
  struct archive *in;
  struct archive *out;
  struct names brought; /* paths of this layer */
  struct failure *why;
};

static int32_t wrong(const struct unpacker *self, const char *where, const char *what) {
  return fail(self->why, BERTH_CODE_INVALID_ARGUMENT, "layer: %.200s: %.200s", where, what == NULL ? "it is malformed" : what);
}

static int32_t broken(const struct unpacker *self, struct archive *of, const char *where) {
  return wrong(self, where, archive_error_string(of));
}

static int is_real_directory(const char *path) {
  struct stat status;
  return lstat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* "/a/b" of "./a/b/"; ".." does not climb out of a root, which is "/". 0: it is too long. */
static int in_root(const char *name, char out[PATH_SIZE]) {
  size_t size = 0;
  while (*name != '\0') {
    const size_t part = strcspn(name, "/");
    if (part == 2 && strncmp(name, "..", 2) == 0) {
      while (size > 0 && out[--size] != '/') continue;
    } else if (part > 0 && !(part == 1 && *name == '.')) {
      if (size + part + 2 > PATH_SIZE) return 0;
      out[size++] = '/';
      memcpy(out + size, name, part);
      size += part;
    }
    name += part;
    name += strspn(name, "/");
  }
  if (size == 0) out[size++] = '/';
  out[size] = '\0';
  return 1;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at) {
  (void)status;
  (void)type;
  (void)at;
  return remove(path);
}

/* With all that is below it, however deep; what is absent is success. */
static int remove_all(const char *path) {
  if (is_real_directory(path)) return nftw(path, remove_one, 64, FTW_DEPTH | FTW_PHYS);
  return unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR ? 0 : -1;
}

static int32_t remove_path(const struct unpacker *self, const char *path) {
  return remove_all(path) == 0 ? 0 : fail_errno(self->why, errno, path);
}

/* The directories above a path, as far as they are not there. */
static int32_t make_parents(const struct unpacker *self, const char *path) {
  char parent[PATH_SIZE];
  struct stat status;
  char *at = parent;
  (void)strcpy(parent, path);
  while ((at = strchr(at + 1, '/')) != NULL) {
    *at = '\0';
    if (mkdir(parent, 0755) != 0 && errno != EEXIST) return wrong(self, path, strerror(errno));
    if (stat(parent, &status) != 0 || !S_ISDIR(status.st_mode)) return wrong(self, path, "what is above it is no directory");
    *at = '/';
  }
  return 0;
}

/* Whether this layer brings the path, or something below it. */
static int is_brought(const struct unpacker *self, const char *path) {
  const size_t size = strlen(path);
  size_t i = 0;
  for (i = 0; i < self->brought.count; ++i) {
    const char *one = self->brought.at[i];
    if (strncmp(one, path, size) == 0 && (one[size] == '\0' || one[size] == '/')) return 1;
  }
  return 0;
}

/* nftw() has no context; a walk stays on its thread. */
static __thread const struct unpacker *clearing;

static int clear_one(const char *path, const struct stat *status, int type, struct FTW *at) {
  (void)status;
  (void)type;
  return at->level == 0 || is_brought(clearing, path) ? 0 : remove(path);
}

/* Removes what lower layers have in a directory, "" for the root, and keeps what this one has brought. */
static int32_t clear(const struct unpacker *self, const char *path) {
  const char *shown = *path == '\0' ? "/" : path;
  if (!is_real_directory(shown)) return 0;
  clearing = self;
  return nftw(shown, clear_one, 64, FTW_DEPTH | FTW_PHYS) == 0 ? 0 : fail_errno(self->why, errno, shown);
}

static int32_t copy_content(const struct unpacker *self, const char *path) {
  const void *bytes = NULL;
  size_t size = 0;
  la_int64_t offset = 0;
  int code = ARCHIVE_OK;
  while ((code = archive_read_data_block(self->in, &bytes, &size, &offset)) == ARCHIVE_OK) {
    if (archive_write_data_block(self->out, bytes, size, offset) < 0) return broken(self, self->out, path);
  }
  return code == ARCHIVE_EOF ? 0 : broken(self, self->in, path);
}

static int32_t whiteout(const struct unpacker *self, char *path, char *base) {
  const char *gone = base + strlen(WHITEOUT);
  if (strcmp(base, OPAQUE) == 0) {
    base[-1] = '\0'; /* its directory */
    return clear(self, path);
  }
  if (*gone == '\0' || strcmp(gone, ".") == 0 || strcmp(gone, "..") == 0) return wrong(self, path, "a whiteout names nothing");
  memmove(base, gone, strlen(gone) + 1);
  return remove_path(self, path);
}

/* Others than those of which layers have a say steer overlayfs and the rest of the system. 0, or -1 when memory is gone. */
static int keep_attributes_of_layers(struct archive_entry *entry) {
  struct archive_entry *copy = archive_entry_clone(entry); /* whose attributes stay as they are meanwhile */
  const char *name = NULL;
  const void *value = NULL;
  size_t size = 0;
  if (copy == NULL) return -1;
  archive_entry_xattr_clear(entry);
  (void)archive_entry_xattr_reset(copy);
  while (archive_entry_xattr_next(copy, &name, &value, &size) == ARCHIVE_OK) {
    if (is_of_layers(name)) archive_entry_xattr_add_entry(entry, name, value, size);
  }
  archive_entry_free(copy);
  return 0;
}

static int32_t take(struct unpacker *self, struct archive_entry *entry, char *path) {
  char link[PATH_SIZE];
  char *base = strrchr(path, '/') + 1;
  const char *to = archive_entry_hardlink(entry);
  if (strncmp(base, WHITEOUT, strlen(WHITEOUT)) == 0) return whiteout(self, path, base);
  if (*base == '\0') return 0; /* the root is the snapshotter's */
  if (make_parents(self, path) != 0) return self->why->code;
  if (to != NULL) {
    if (!in_root(to, link)) return wrong(self, path, "its link is too long");
    if (strcmp(link, path) == 0) return 0;
    archive_entry_set_hardlink(entry, link);
  }
  /* A directory stays with what is in it, everything else is replaced. */
  if (!(archive_entry_filetype(entry) == AE_IFDIR && is_real_directory(path)) && remove_path(self, path) != 0) return self->why->code;
  archive_entry_set_pathname(entry, path);
  if (keep_attributes_of_layers(entry) != 0 || names_add(&self->brought, path) != 0) return fail_errno(self->why, ENOMEM, "unpack a layer");
  if (archive_write_header(self->out, entry) != ARCHIVE_OK) return broken(self, self->out, path);
  if (copy_content(self, path) != 0) return self->why->code;
  return archive_write_finish_entry(self->out) == ARCHIVE_OK ? 0 : broken(self, self->out, path);
}

static int32_t unpack_all(struct unpacker *self) {
  struct archive_entry *entry = NULL;
  char path[PATH_SIZE];
  int code = ARCHIVE_OK;
  while ((code = archive_read_next_header(self->in, &entry)) == ARCHIVE_OK) {
    const char *name = archive_entry_pathname(entry);
    if (name == NULL || !in_root(name, path)) return wrong(self, "an entry", "it has no name, or one that is too long");
    if (take(self, entry, path) != 0) return self->why->code;
  }
  if (code != ARCHIVE_EOF) return broken(self, self->in, "an entry");
  /* Times and modes of directories come last. */
  return archive_write_close(self->out) == ARCHIVE_OK ? 0 : broken(self, self->out, "its directories");
}

int32_t unpack_here(const struct bytes *archive, struct failure *why) {
  struct unpacker self = {archive_read_new(), archive_write_disk_new(), {NULL, 0, 0}, why};
  int32_t code = 0;
  if (self.in == NULL || self.out == NULL) {
    code = fail_errno(why, ENOMEM, "unpack a layer");
  } else {
    (void)archive_read_support_format_tar(self.in);
    (void)archive_read_support_format_empty(self.in);
    /* Names are bytes; what locale the daemon has is nothing to them. */
    (void)archive_read_set_options(self.in, "hdrcharset=BINARY");
    (void)archive_write_disk_set_options(self.out, ARCHIVE_EXTRACT_OWNER | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME |
                                                       ARCHIVE_EXTRACT_XATTR | ARCHIVE_EXTRACT_UNLINK);
    code = archive_read_open_memory(self.in, archive->data, archive->size) == ARCHIVE_OK ? unpack_all(&self)
                                                                                         : broken(&self, self.in, "it cannot be read");
  }
  names_free(&self.brought);
  (void)archive_read_free(self.in);
  (void)archive_write_free(self.out);
  return code;
}
