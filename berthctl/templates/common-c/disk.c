#define _GNU_SOURCE
#include "disk.h"

#include <berth/c_helpers.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int32_t join(char *out, const char *directory, const char *name, struct failure *why) {
  const int size = snprintf(out, PATH_SIZE, "%s/%s", directory, name);
  if (size < 0 || size >= PATH_SIZE) return fail(why, BERTH_CODE_INVALID_ARGUMENT, "a path below %.200s is too long", directory);
  return 0;
}

static int write_all(int fd, const char *bytes, size_t size) {
  while (size > 0) {
    const ssize_t count = write(fd, bytes, size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return -1;
    bytes += count;
    size -= (size_t)count;
  }
  return 0;
}

int32_t write_durably(const char *directory, const char *name, const void *bytes, size_t size, struct failure *why) {
  char path[PATH_SIZE];
  char new_path[PATH_SIZE];
  char new_name[300];
  int fd = -1;
  int error = 0;
  (void)snprintf(new_name, sizeof new_name, "%s.new", name);
  if (join(path, directory, name, why) != 0 || join(new_path, directory, new_name, why) != 0) return why->code;
  fd = open(new_path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) return fail_errno(why, errno, new_path);
  if (write_all(fd, bytes, size) != 0 || fsync(fd) != 0) error = errno;
  if (close(fd) != 0 && error == 0) error = errno;
  if (error == 0 && rename(new_path, path) != 0) error = errno;
  if (error != 0) {
    (void)unlink(new_path);
    return fail_errno(why, error, path);
  }
  return sync_directory(directory, why);
}

void *read_whole(const char *path, size_t *size, struct failure *why) {
  struct stat status;
  char *bytes = NULL;
  size_t at = 0;
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &status) != 0) {
    (void)fail_errno(why, errno, path);
    if (fd >= 0) close(fd);
    return NULL;
  }
  bytes = malloc((size_t)status.st_size + 1);
  while (bytes != NULL && at < (size_t)status.st_size) {
    const ssize_t count = read(fd, bytes + at, (size_t)status.st_size - at);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      (void)fail_errno(why, count < 0 ? errno : EIO, path);
      free(bytes);
      close(fd);
      return NULL;
    }
    at += (size_t)count;
  }
  if (bytes == NULL) (void)fail_errno(why, ENOMEM, path);
  close(fd);
  *size = at;
  return bytes;
}

int32_t sync_directory(const char *path, struct failure *why) {
  const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int error = 0;
  if (fd < 0) return fail_errno(why, errno, path);
  if (fsync(fd) != 0) error = errno;
  close(fd);
  return error == 0 ? 0 : fail_errno(why, error, path);
}

/* Walks by descriptors, so that nobody who swaps a directory for a link leads it elsewhere. */
static int remove_at(int parent, const char *name) {
  DIR *directory = NULL;
  struct dirent *entry = NULL;
  int result = 0;
  const int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT ? 0 : unlinkat(parent, name, 0);
  directory = fdopendir(fd);
  if (directory == NULL) {
    close(fd);
    return -1;
  }
  while (result == 0 && (entry = readdir(directory)) != NULL) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    result = entry->d_type == DT_DIR ? remove_at(fd, entry->d_name) : unlinkat(fd, entry->d_name, 0);
  }
  closedir(directory);
  return result != 0 ? result : unlinkat(parent, name, AT_REMOVEDIR);
}

int32_t remove_tree(const char *path, struct failure *why) {
  if (remove_at(AT_FDCWD, path) != 0 && errno != ENOENT) return fail_errno(why, errno, path);
  return 0;
}

struct seen {
  ino_t *inodes;
  size_t count, room;
};

/* 1 when a file with several names was counted before. */
static int was_seen(struct seen *seen, ino_t inode) {
  size_t i = 0;
  for (i = 0; i < seen->count; ++i) {
    if (seen->inodes[i] == inode) return 1;
  }
  if (seen->count == seen->room) {
    const size_t room = seen->room == 0 ? 64 : 2 * seen->room;
    ino_t *inodes = realloc(seen->inodes, room * sizeof *inodes);
    if (inodes == NULL) return 0;
    seen->inodes = inodes;
    seen->room = room;
  }
  seen->inodes[seen->count++] = inode;
  return 0;
}

static int measure_at(int parent, const char *name, struct seen *seen, int64_t *bytes, int64_t *inodes) {
  struct stat status;
  struct dirent *entry = NULL;
  DIR *directory = NULL;
  int fd = -1;
  int result = 0;
  if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) != 0) return -1;
  if (S_ISDIR(status.st_mode) || status.st_nlink < 2 || !was_seen(seen, status.st_ino)) {
    *bytes += (int64_t)status.st_blocks * 512;
    *inodes += 1;
  }
  if (!S_ISDIR(status.st_mode)) return 0;
  fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return -1;
  directory = fdopendir(fd);
  if (directory == NULL) {
    close(fd);
    return -1;
  }
  while (result == 0 && (entry = readdir(directory)) != NULL) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    result = measure_at(fd, entry->d_name, seen, bytes, inodes);
    if (result != 0 && errno == ENOENT) result = 0; /* removed meanwhile */
  }
  closedir(directory);
  return result;
}

int32_t measure_tree(const char *path, int64_t *bytes, int64_t *inodes, struct failure *why) {
  struct seen seen = {NULL, 0, 0};
  const int result = measure_at(AT_FDCWD, path, &seen, bytes, inodes);
  const int error = errno;
  free(seen.inodes);
  return result == 0 ? 0 : fail_errno(why, error, path);
}

int32_t make_directory(const char *path, unsigned mode, struct failure *why) {
  if (mkdir(path, mode) != 0) return errno == EEXIST ? 0 : fail_errno(why, errno, path);
  if (chmod(path, mode) != 0) return fail_errno(why, errno, path);
  return 0;
}
