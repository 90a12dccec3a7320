#define _GNU_SOURCE
#include "process.h"

#include <berth/c_helpers.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "memory.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* What programs expect in /dev, all of the kernel's memory devices. */
static const struct {
  const char *name;
  unsigned minor;
} kDevices[] = {{"null", 3}, {"zero", 5}, {"full", 7}, {"random", 8}, {"urandom", 9}};

/* All that the child needs, made before it is. */
struct plan {
  const struct spec *spec;
  char **programs; /* where it may be; ends with NULL */
  char **targets;  /* of the mounts */
  char *devices[COUNT(kDevices)];
  int in, out, err, go, outcome;
  int of_the_parent[2]; /* the other ends of these two, which must not outlive it */
};

static void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

/* Where PATH of the process leads; all below its root. */
static char **programs_of(const struct spec *spec) {
  const char *const name = spec->args[0];
  const char *path = "/bin:/usr/bin";
  char **found = NULL;
  size_t count = 0, i = 0;
  for (i = 0; spec->env[i] != NULL; ++i) {
    if (strncmp(spec->env[i], "PATH=", 5) == 0) path = spec->env[i] + 5;
  }
  if (strchr(name, '/') != NULL) {
    found = resized(NULL, 2, sizeof *found);
    found[count++] = copied(name);
  } else {
    while (path != NULL) {
      const char *const end = strchrnul(path, ':');
      found = resized(found, count + 2, sizeof *found);
      found[count++] = printed("%.*s/%s", (int)(end - path), path, name);
      path = *end == ':' ? end + 1 : NULL;
    }
  }
  found[count] = NULL;
  return found;
}

/* In the child. 0, or why not. */
static int prepare(const struct plan *plan) {
  const struct spec *const spec = plan->spec;
  size_t i = 0;
  /* What this program blocks and ignores is nothing to the user's. */
  sigset_t none;
  sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, NULL);
  (void)signal(SIGPIPE, SIG_DFL);
  if (spec->mount_count > 0) {
    if (unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC) != 0) return errno;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return errno;
  }
  for (i = 0; i < spec->mount_count; ++i) {
    const struct mount_point *const one = &spec->mounts[i];
    (void)mkdir(plan->targets[i], 0755); /* those that are there stay */
    if (mount(one->source, plan->targets[i], one->type, one->flags, one->data) != 0) return errno;
  }
  for (i = 0; i < COUNT(kDevices) && plan->devices[i] != NULL; ++i) {
    (void)mknod(plan->devices[i], S_IFCHR, makedev(1, kDevices[i].minor));
    (void)chmod(plan->devices[i], 0666);
  }
  if (chdir(spec->root) != 0 || chroot(".") != 0 || chdir(spec->cwd) != 0) return errno;
  if (dup2(plan->in, 0) < 0 || dup2(plan->out, 1) < 0 || dup2(plan->err, 2) < 0) return errno;
  return 0;
}

static void child(const struct plan *plan) __attribute__((noreturn));
static void child(const struct plan *plan) {
  const struct spec *const spec = plan->spec;
  int error = prepare(plan);
  char byte = 0;
  size_t i = 0;
  (void)close(plan->of_the_parent[0]);
  (void)close(plan->of_the_parent[1]);
  /* Made or not, it is held here: who made it hears of the error when it is to run. */
  if (read(plan->go, &byte, 1) != 1) _exit(0);
  if (error == 0 && (setgroups(0, NULL) != 0 || setgid(spec->gid) != 0 || setuid(spec->uid) != 0)) error = errno;
  if (error == 0) {
    error = ENOENT;
    for (i = 0; plan->programs[i] != NULL; ++i) {
      (void)execve(plan->programs[i], spec->args, spec->env);
      if (errno != ENOENT) error = errno;
    }
  }
  if (write(plan->outcome, &error, sizeof error) < 0) _exit(126);
  _exit(127);
}

static int open_stream(const char *path, int flags, struct failure *why) {
  const char *const real = path == NULL || path[0] == '\0' ? "/dev/null" : path;
  const int fd = open(real, flags | O_CLOEXEC);
  if (fd < 0) (void)fail_errno(why, errno, real);
  return fd;
}

static int32_t open_all(struct plan *plan, struct process *process, struct failure *why) {
  const struct spec *const spec = plan->spec;
  int go[2], outcome[2];
  if (pipe2(go, O_CLOEXEC) != 0) return fail_errno(why, errno, "make a pipe");
  plan->go = go[0];
  process->go = go[1];
  if (pipe2(outcome, O_CLOEXEC) != 0) return fail_errno(why, errno, "make a pipe");
  process->outcome = outcome[0];
  plan->outcome = outcome[1];
  /* Fifos are opened for both, so that nobody waits for the client and nothing ends when it goes. */
  if (spec->in != NULL && spec->in[0] != '\0') {
    process->input = open_stream(spec->in, O_RDWR, why);
    if (process->input < 0) return why->code;
  }
  plan->in = open_stream(spec->in, O_RDONLY, why);
  if (plan->in < 0) return why->code;
  plan->out = open_stream(spec->out, O_RDWR, why);
  if (plan->out < 0) return why->code;
  plan->err = open_stream(spec->err, O_RDWR, why);
  return plan->err < 0 ? why->code : 0;
}

int32_t process_make(const struct spec *spec, struct process *out, struct failure *why) {
  struct plan plan = {spec, NULL, NULL, {NULL}, -1, -1, -1, -1, -1, {-1, -1}};
  struct process made = {-1, -1, -1, -1};
  int32_t code = open_all(&plan, &made, why);
  size_t i = 0;
  plan.programs = programs_of(spec);
  plan.targets = zeroed((spec->mount_count + 1) * sizeof *plan.targets);
  for (i = 0; i < spec->mount_count; ++i) plan.targets[i] = printed("%s%s", spec->root, spec->mounts[i].target);
  for (i = 0; i < COUNT(kDevices) && spec->mount_count > 0; ++i) plan.devices[i] = printed("%s/dev/%s", spec->root, kDevices[i].name);
  plan.of_the_parent[0] = made.go;
  plan.of_the_parent[1] = made.outcome;
  if (code == 0) {
    made.pid = fork();
    if (made.pid == 0) child(&plan);
    if (made.pid < 0) code = fail_errno(why, errno, "make a process");
    /* Each leads a group, before anybody can want to kill it. */
    if (made.pid > 0) (void)setpgid(made.pid, made.pid);
  }
  for (i = 0; plan.programs[i] != NULL; ++i) free(plan.programs[i]);
  for (i = 0; i < spec->mount_count; ++i) free(plan.targets[i]);
  for (i = 0; i < COUNT(kDevices); ++i) free(plan.devices[i]);
  free(plan.programs);
  free(plan.targets);
  close_fd(&plan.in);
  close_fd(&plan.out);
  close_fd(&plan.err);
  close_fd(&plan.go);
  close_fd(&plan.outcome);
  if (code != 0) {
    process_clear(&made);
  } else {
    *out = made;
  }
  return code;
}

int32_t process_start(struct process *process, struct failure *why) {
  int error = 0;
  if (write(process->go, "g", 1) != 1) return fail_errno(why, errno, "let the process run");
  close_fd(&process->go);
  /* Its end is closed by exec. */
  if (read(process->outcome, &error, sizeof error) == (ssize_t)sizeof error) return fail_errno(why, error, "run the program");
  return 0;
}

void process_close_input(struct process *process) { close_fd(&process->input); }

void process_clear(struct process *process) {
  close_fd(&process->go);
  close_fd(&process->outcome);
  close_fd(&process->input);
}
