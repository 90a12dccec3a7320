/* The command line of a shim, as daemons use it: "start" answers with the address of a shim that serves the container, "delete" cleans up
 * after one that was killed. The working directory is the bundle. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "containerd/runtime/task/v2/shim.pb-c.h"
#include "serve.h"
#include "ttrpc.h"

#define SOCKETS "/run/@name@"

struct arguments {
  const char *ns, *id, *command;
};

static struct arguments parse(int argc, char **argv) {
  struct arguments out = {"", "", ""};
  int i = 0;
  for (i = 1; i < argc; ++i) {
    const char *const word = strncmp(argv[i], "--", 2) == 0 ? argv[i] + 1 : argv[i];
    if (strcmp(word, "-v") == 0) {
      out.command = "version";
    } else if (word[0] == '-' && strcmp(word, "-debug") != 0 && i + 1 < argc) {
      ++i;
      if (strcmp(word, "-namespace") == 0) out.ns = argv[i];
      if (strcmp(word, "-id") == 0) out.id = argv[i];
    } else if (word[0] != '-') {
      out.command = word;
    }
  }
  return out;
}

static int complain(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  return 1;
}

/* Of the bundle, which no two containers share: its place on disk is a name that is short enough for sockets. */
static int socket_of_bundle(struct sockaddr_un *out) {
  struct stat bundle;
  memset(out, 0, sizeof *out);
  out->sun_family = AF_UNIX;
  if (stat(".", &bundle) != 0) return -1;
  (void)snprintf(out->sun_path, sizeof out->sun_path, SOCKETS "/%jx-%jx", (uintmax_t)bundle.st_dev, (uintmax_t)bundle.st_ino);
  return 0;
}

static int listen_at(const struct sockaddr_un *address) {
  const struct sockaddr *const plain = (const struct sockaddr *)address;
  const mode_t mask = umask(0077);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int bound = -1;
  if (fd >= 0 && (mkdir(SOCKETS, 0700) == 0 || errno == EEXIST)) {
    bound = bind(fd, plain, sizeof *address);
    /* Nobody takes it who has died. */
    if (bound != 0 && errno == EADDRINUSE && connect(fd, plain, sizeof *address) != 0 && errno == ECONNREFUSED) {
      (void)unlink(address->sun_path);
      bound = bind(fd, plain, sizeof *address);
    }
  }
  (void)umask(mask);
  return bound == 0 && listen(fd, 64) == 0 ? fd : -1;
}

static int start(const struct arguments *arguments) {
  struct sockaddr_un address;
  int listening = -1, null = -1, log = -1, served = 0;
  pid_t pid = 0;
  if (socket_of_bundle(&address) != 0) return complain("look at the bundle");
  listening = listen_at(&address);
  if (listening < 0) return complain(address.sun_path);
  pid = fork();
  if (pid < 0) return complain("make a process");
  if (pid > 0) {
    /* By the file containerd 1.6 finds the shim again after a start of its own. */
    FILE *const record = fopen("address", "we");
    if (record != NULL) {
      (void)fprintf(record, "unix://%s", address.sun_path);
      (void)fclose(record);
    }
    printf("unix://%s", address.sun_path);
    return 0;
  }
  (void)setsid();
  /* The daemon waits for the end of "start" and of its output; what is written from now on is in the daemon's log. */
  null = open("/dev/null", O_RDWR | O_CLOEXEC);
  log = open("log", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 || dup2(log < 0 ? null : log, STDERR_FILENO) < 0) _exit(1);
  served = serve(listening, service_new(arguments->ns, arguments->id));
  if (served != 0) (void)complain("serve");
  (void)unlink(address.sun_path);
  return served == 0 ? 0 : 1;
}

/* Kills the group of the first process and waits for its end, two seconds at most. */
static int clean_up(void) {
  Containerd__Task__V2__DeleteResponse response = CONTAINERD__TASK__V2__DELETE_RESPONSE__INIT;
  Google__Protobuf__Timestamp now = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  const struct timespec moment = {0, 10000000};
  struct sockaddr_un address;
  ProtobufCBinaryData bytes;
  int written = 0;
  FILE *const record = fopen("init.pid", "re");
  int pid = 0, i = 0;
  if (record != NULL && fscanf(record, "%d", &pid) != 1) pid = 0;
  if (record != NULL) (void)fclose(record);
  if (pid > 1) {
    (void)kill(-pid, SIGKILL);
    for (i = 0; i < 200 && kill(pid, 0) == 0; ++i) (void)nanosleep(&moment, NULL);
  }
  if (socket_of_bundle(&address) == 0) (void)unlink(address.sun_path);
  now.seconds = time(NULL);
  response.pid = (uint32_t)pid;
  response.exit_status = 128 + SIGKILL;
  response.exited_at = &now;
  bytes = packed(&response.base);
  written = fwrite(bytes.data, 1, bytes.len, stdout) == bytes.len && fflush(stdout) == 0;
  free(bytes.data);
  return written ? 0 : 1;
}

int main(int argc, char **argv) {
  const struct arguments arguments = parse(argc, argv);
  if (strcmp(arguments.command, "version") == 0) {
    printf("%s:\n  Version:  0.1.0\n", argv[0]);
    return 0;
  }
  if (arguments.id[0] == '\0' || arguments.ns[0] == '\0') {
    fprintf(stderr, "usage: %s -namespace NS -id ID start|delete; daemons run it\n", argv[0]);
    return 2;
  }
  if (strcmp(arguments.command, "start") == 0) return start(&arguments);
  if (strcmp(arguments.command, "delete") == 0) return clean_up();
  fprintf(stderr, "there is no command \"%s\"\n", arguments.command);
  return 2;
}
