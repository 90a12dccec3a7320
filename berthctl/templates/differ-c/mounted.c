#define _GNU_SOURCE
#include "mounted.h"

#include <berth/c_helpers.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"

struct job {
  Containerd__Types__Mount *const *mounts;
  size_t count;
  char target[4096];
  work_function work;
  void *context;
  struct failure *why;
};

static int32_t mount_one(const Containerd__Types__Mount *mount_at, const char *target, struct failure *why) {
  unsigned long flags = 0;
  struct bytes data = {NULL, 0, 0};
  size_t i = 0;
  int error = 0;
  for (i = 0; i < mount_at->n_options && error == 0; ++i) {
    const char *option = mount_at->options[i];
    if (strcmp(option, "ro") == 0) {
      flags |= MS_RDONLY;
    } else if (strcmp(option, "bind") == 0) {
      flags |= MS_BIND;
    } else if (strcmp(option, "rbind") == 0) {
      flags |= MS_BIND | MS_REC;
    } else if (strcmp(option, "rw") != 0) {
      if ((data.size != 0 && bytes_add(&data, ",", 1) != 0) || bytes_add(&data, option, strlen(option)) != 0) error = ENOMEM;
    }
  }
  if (error == 0 && bytes_add(&data, "", 1) != 0) error = ENOMEM;
  if (error == 0 && mount(mount_at->source, target, mount_at->type, flags, data.data) != 0) error = errno;
  bytes_free(&data);
  return error == 0 ? 0 : fail_errno(why, error, mount_at->source);
}

static int32_t enter(const struct job *job) {
  size_t i = 0;
  /* Of this thread's own: mounts, root, working directory and umask. */
  if (unshare(CLONE_NEWNS | CLONE_FS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
    return fail_errno(job->why, errno, "make a mount namespace");
  }
  (void)umask(022);
  for (i = 0; i < job->count; ++i) {
    if (mount_one(job->mounts[i], job->target, job->why) != 0) return job->why->code;
  }
  if (chroot(job->target) != 0 || chdir("/") != 0) return fail_errno(job->why, errno, job->target);
  return 0;
}

static int32_t sync_here(struct failure *why) {
  const int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int error = 0;
  if (root < 0 || syncfs(root) != 0) error = errno;
  if (root >= 0) close(root);
  return error == 0 ? 0 : fail_errno(why, error, "sync the layer's file system");
}

static void *run(void *context) {
  const struct job *job = context;
  job->why->code = 0;
  if (enter(job) == 0 && job->work(job->context, job->why) == 0) (void)sync_here(job->why);
  return NULL;
}

int32_t in_root_of(Containerd__Types__Mount *const *mounts, size_t count, const char *folder, work_function work, void *context,
                   struct failure *why) {
  struct job job = {mounts, count, "", work, context, why};
  pthread_t thread;
  int error = 0;
  const int size = snprintf(job.target, sizeof job.target, "%s/mnt-XXXXXX", folder);
  if (size < 0 || (size_t)size >= sizeof job.target || mkdtemp(job.target) == NULL) return fail_errno(why, errno, "make a mount point");
  error = pthread_create(&thread, NULL, run, &job);
  if (error == 0) {
    (void)pthread_join(thread, NULL);
  } else {
    (void)fail(why, BERTH_CODE_RESOURCE_EXHAUSTED, "no thread for a layer: %s", strerror(error));
  }
  if (rmdir(job.target) != 0 && why->code == 0) (void)fail_errno(why, errno, job.target);
  return why->code;
}
