#define _GNU_SOURCE
#include <archive.h>
#include <archive_entry.h>
#include <berth/c_helpers.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "layer.h"

#define PATH_SIZE 4096 /* as much as the kernel takes */
#define STEP 65536     /* as much as an attribute and a list of them has */

/* -- trees ----------------------------------------------------------------------------------------------------------- */

int is_of_layers(const char *attribute) {
  return strncmp(attribute, "user.", 5) == 0 || strcmp(attribute, "security.capability") == 0;
}

/* Calls `take` for each attribute that layers carry. */
static int each_attribute(const char *path, int (*take)(void *context, const char *name, const char *value, size_t size), void *context) {
  char *list = malloc(2 * STEP);
  char *value = list == NULL ? NULL : list + STEP;
  const ssize_t size = list == NULL ? 0 : llistxattr(path, list, STEP);
  const char *name = list;
  int result = list == NULL ? -1 : 0;
  for (; result == 0 && name < list + size; name += strlen(name) + 1) {
    ssize_t value_size = 0;
    if (!is_of_layers(name)) continue;
    value_size = lgetxattr(path, name, value, STEP);
    if (value_size >= 0) result = take(context, name, value, (size_t)value_size);
  }
  free(list);
  return result;
}

/* In hexadecimal, so that a look is a text. */
static int look_at_attribute(void *context, const char *name, const char *value, size_t size) {
  struct bytes *out = context;
  size_t i = 0;
  int result = bytes_add(out, " ", 1) | bytes_add(out, name, strlen(name)) | bytes_add(out, "=", 1);
  for (i = 0; i < size; ++i) {
    char two[3];
    (void)snprintf(two, sizeof two, "%02x", (unsigned char)value[i]);
    result |= bytes_add(out, two, 2);
  }
  return result;
}

static ssize_t read_link(const char *path, char out[PATH_SIZE]) {
  const ssize_t size = readlink(path, out, PATH_SIZE - 1);
  out[size < 0 ? 0 : size] = '\0';
  return size;
}

/* All that makes a file another one. 0, or -1 when memory is gone. */
static int look(const char *path, const struct stat *status, struct bytes *out) {
  char text[256];
  char link[PATH_SIZE];
  int size = snprintf(text, sizeof text, "%o %u:%u", (unsigned)status->st_mode, (unsigned)status->st_uid, (unsigned)status->st_gid);
  int result = bytes_add(out, text, (size_t)size);
  if (!S_ISDIR(status->st_mode)) {
    size = snprintf(text, sizeof text, " %lld %lld.%09ld %llu", (long long)status->st_size, (long long)status->st_mtim.tv_sec,
                    status->st_mtim.tv_nsec, (unsigned long long)status->st_rdev);
    result |= bytes_add(out, text, (size_t)size);
  }
  if (S_ISLNK(status->st_mode) && read_link(path, link) >= 0) result |= bytes_add(out, " ", 1) | bytes_add(out, link, strlen(link));
  return result | each_attribute(path, look_at_attribute, out) | bytes_add(out, "", 1);
}

/* nftw() has no context; a walk stays on its thread. */
static __thread struct names *walked;

static int add_name(const char *path, const struct stat *status, int type, struct FTW *at) {
  (void)status;
  if (type == FTW_NS || type == FTW_DNR) return -1;
  return at->level == 0 ? 0 : names_add(walked, path + 1);
}

typedef int32_t (*visit_function)(void *context, const char *name, const char *path, const struct stat *status, const char *seen,
                                  struct failure *why);

/* All of this root, in order of names. */
static int32_t visit_all(struct names *names, visit_function visit, void *context, struct failure *why) {
  char path[PATH_SIZE + 1];
  struct bytes seen = {NULL, 0, 0};
  size_t i = 0;
  int32_t code = 0;
  walked = names;
  if (nftw("/", add_name, 64, FTW_PHYS) != 0) code = fail_errno(why, errno, "walk a tree");
  names_sort(names);
  for (i = 0; code == 0 && i < names->count; ++i) {
    struct stat status;
    (void)snprintf(path, sizeof path, "/%s", names->at[i]);
    seen.size = 0;
    if (lstat(path, &status) != 0) {
      code = fail_errno(why, errno, path);
    } else if (look(path, &status, &seen) != 0) {
      code = fail_errno(why, ENOMEM, "look at a tree");
    } else {
      code = visit(context, names->at[i], path, &status, seen.data, why);
    }
  }
  bytes_free(&seen);
  return code;
}

static int32_t keep_look(void *context, const char *name, const char *path, const struct stat *status, const char *seen,
                         struct failure *why) {
  (void)name;
  (void)path;
  (void)status;
  return names_add(context, seen) == 0 ? 0 : fail_errno(why, ENOMEM, "look at a tree");
}

int32_t look_at_tree(struct tree *out, struct failure *why) { return visit_all(&out->paths, keep_look, &out->looks, why); }

void tree_free(struct tree *tree) {
  names_free(&tree->paths);
  names_free(&tree->looks);
}

/* -- layers of changes ------------------------------------------------------------------------------------------------- */

struct packer {
  struct archive *out;
  const struct tree *lower;
  struct names linked; /* files that have several names, in order of `inodes` */
  struct bytes inodes;
  struct names directories; /* of the upper tree, in order */
};

static int32_t not_written(const struct packer *self, const char *path, struct failure *why) {
  const char *what = archive_error_string(self->out);
  return fail(why, BERTH_CODE_INTERNAL, "write a layer: %.200s: %.200s", path, what == NULL ? "no memory" : what);
}

static int add_attribute(void *context, const char *name, const char *value, size_t size) {
  archive_entry_xattr_add_entry(context, name, value, size);
  return 0;
}

/* The first name of a file that has several; NULL: this is it. */
static const char *first_name(struct packer *self, ino_t inode, const char *name) {
  const ino_t *inodes = (const ino_t *)self->inodes.data;
  size_t i = 0;
  for (i = 0; i < self->linked.count; ++i) {
    if (inodes[i] == inode) return self->linked.at[i];
  }
  if (bytes_add(&self->inodes, &inode, sizeof inode) == 0 && names_add(&self->linked, name) != 0) self->inodes.size -= sizeof inode;
  return NULL;
}

static int32_t copy_file(const struct packer *self, const char *path, int64_t left, struct failure *why) {
  char *buffer = malloc(STEP);
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  int32_t code = fd < 0 || buffer == NULL ? fail_errno(why, fd < 0 ? errno : ENOMEM, path) : 0;
  while (code == 0 && left > 0) {
    const ssize_t count = read(fd, buffer, left < STEP ? (size_t)left : STEP);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) code = fail_errno(why, errno, path);
    if (count == 0) code = fail(why, BERTH_CODE_ABORTED, "write a layer: %.200s became shorter meanwhile", path);
    if (count > 0 && archive_write_data(self->out, buffer, (size_t)count) < 0) code = not_written(self, path, why);
    left -= count;
  }
  if (fd >= 0) close(fd);
  free(buffer);
  return code;
}

static int32_t add_file(struct packer *self, const char *name, const char *path, const struct stat *status, struct failure *why) {
  char link[PATH_SIZE];
  const char *first = NULL;
  int32_t code = 0;
  struct archive_entry *entry = archive_entry_new();
  if (entry == NULL) return not_written(self, path, why);
  archive_entry_copy_stat(entry, status);
  archive_entry_unset_atime(entry);
  archive_entry_unset_ctime(entry);
  archive_entry_set_pathname(entry, name);
  if (S_ISLNK(status->st_mode) && read_link(path, link) >= 0) archive_entry_set_symlink(entry, link);
  (void)each_attribute(path, add_attribute, entry);
  if (!S_ISDIR(status->st_mode) && status->st_nlink > 1) first = first_name(self, status->st_ino, name);
  if (first != NULL) {
    archive_entry_set_hardlink(entry, first);
    archive_entry_set_size(entry, 0);
  }
  if (archive_write_header(self->out, entry) != ARCHIVE_OK) code = not_written(self, path, why);
  if (code == 0 && first == NULL && S_ISREG(status->st_mode)) code = copy_file(self, path, status->st_size, why);
  archive_entry_free(entry);
  return code;
}

static int32_t add_if_changed(void *context, const char *name, const char *path, const struct stat *status, const char *seen,
                              struct failure *why) {
  struct packer *self = context;
  const size_t before = names_find(&self->lower->paths, name);
  if (S_ISDIR(status->st_mode) && names_add(&self->directories, name) != 0) return not_written(self, path, why);
  if (before < self->lower->paths.count && strcmp(self->lower->looks.at[before], seen) == 0) return 0;
  return add_file(self, name, path, status, why);
}

static int32_t add_whiteout(const struct packer *self, const char *name, struct failure *why) {
  char path[PATH_SIZE + 8];
  const char *base = strrchr(name, '/') == NULL ? name : strrchr(name, '/') + 1;
  struct archive_entry *entry = archive_entry_new();
  int32_t code = 0;
  if (entry == NULL) return not_written(self, name, why);
  (void)snprintf(path, sizeof path, "%.*s.wh.%s", (int)(base - name), name, base);
  archive_entry_set_pathname(entry, path);
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_entry_set_size(entry, 0);
  if (archive_write_header(self->out, entry) != ARCHIVE_OK) code = not_written(self, name, why);
  archive_entry_free(entry);
  return code;
}

/* What is below something that goes, or is a file now, goes with it. */
static int is_in_a_directory(const struct packer *self, const char *name) {
  char parent[PATH_SIZE];
  char *end = NULL;
  (void)snprintf(parent, sizeof parent, "%s", name);
  end = strrchr(parent, '/');
  if (end == NULL) return 1;
  *end = '\0';
  return names_find(&self->directories, parent) < self->directories.count;
}

static la_ssize_t append(struct archive *archive, void *out, const void *bytes, size_t size) {
  (void)archive;
  return bytes_add(out, bytes, size) == 0 ? (la_ssize_t)size : -1;
}

static int32_t pack_all(struct packer *self, struct names *upper, struct failure *why) {
  size_t i = 0;
  int32_t code = visit_all(upper, add_if_changed, self, why);
  for (i = 0; code == 0 && i < self->lower->paths.count; ++i) {
    const char *name = self->lower->paths.at[i];
    if (names_find(upper, name) == upper->count && is_in_a_directory(self, name)) code = add_whiteout(self, name, why);
  }
  if (code == 0 && archive_write_close(self->out) != ARCHIVE_OK) code = not_written(self, "its end", why);
  return code;
}

int32_t pack_changes(const struct tree *lower, struct bytes *archive, struct failure *why) {
  struct packer self = {archive_write_new(), lower, {NULL, 0, 0}, {NULL, 0, 0}, {NULL, 0, 0}};
  struct names upper = {NULL, 0, 0};
  int32_t code = 0;
  if (self.out == NULL) return fail_errno(why, ENOMEM, "write a layer");
  (void)archive_write_set_format_pax(self.out);
  (void)archive_write_set_options(self.out, "hdrcharset=BINARY");
  (void)archive_write_set_bytes_per_block(self.out, 0);
  if (archive_write_open(self.out, archive, NULL, append, NULL) != ARCHIVE_OK) code = not_written(&self, "its begin", why);
  if (code == 0) code = pack_all(&self, &upper, why);
  (void)archive_write_free(self.out);
  names_free(&upper);
  names_free(&self.linked);
  names_free(&self.directories);
  bytes_free(&self.inodes);
  return code;
}
