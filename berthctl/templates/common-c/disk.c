#define _GNU_SOURCE
#include "disk.h"

#include <berth/c_helpers.h>
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

int32_t make_directory(const char *path, unsigned mode, struct failure *why) {
  if (mkdir(path, mode) != 0) return errno == EEXIST ? 0 : fail_errno(why, errno, path);
  if (chmod(path, mode) != 0) return fail_errno(why, errno, path);
  return 0;
}
