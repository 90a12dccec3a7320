#define _GNU_SOURCE
#include "serve.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory.h"
#include "ttrpc.h"

#define AT_ONCE 65536   /* bytes that are read from one client before the next has its turn */
#define LONGEST_SEND 5 /* seconds for a client that does not read */

struct connection {
  int fd;
  uint8_t *bytes; /* what is not a whole frame yet */
  size_t size, room;
};

struct server {
  struct service *service;
  struct connection *connections;
  size_t count;
};

/* The poll finds its end. */
void connection_broken(int fd) { (void)shutdown(fd, SHUT_RDWR); }

static void handle(struct server *server, int fd, uint32_t stream, const uint8_t *bytes, size_t size) {
  Ttrpc__Request *const request = ttrpc__request__unpack(NULL, size, bytes);
  const struct caller caller = {fd, stream};
  if (request == NULL) {
    connection_broken(fd);
    return;
  }
  service_call(server->service, request->service, request->method, request->payload, caller);
  ttrpc__request__free_unpacked(request, NULL);
}

/* All frames that are whole. -1: they are none. */
static int take_frames(struct server *server, struct connection *from) {
  size_t at = 0;
  while (from->size - at >= TTRPC_HEAD) {
    const struct ttrpc_head head = ttrpc_read_head(from->bytes + at);
    if (head.size > TTRPC_LARGEST) return -1;
    if (from->size - at < TTRPC_HEAD + head.size) break;
    /* Clients have odd numbers. Frames of streams, which no method has, are passed over. */
    if (head.type == TTRPC_REQUEST && head.stream % 2 == 1) {
      handle(server, from->fd, head.stream, from->bytes + at + TTRPC_HEAD, head.size);
    }
    at += TTRPC_HEAD + head.size;
  }
  memmove(from->bytes, from->bytes + at, from->size - at);
  from->size -= at;
  return 0;
}

/* 0: the client is gone. */
static int read_some(struct server *server, struct connection *from) {
  ssize_t count = 0;
  if (from->room - from->size < AT_ONCE) {
    from->room = from->size + AT_ONCE;
    from->bytes = resized(from->bytes, from->room, 1);
  }
  count = recv(from->fd, from->bytes + from->size, AT_ONCE, MSG_DONTWAIT);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  from->size += (size_t)count;
  return count > 0 && take_frames(server, from) == 0;
}

static void take_client(struct server *server, int listening) {
  const struct timeval limit = {LONGEST_SEND, 0};
  const int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0) return;
  (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  server->connections = resized(server->connections, server->count + 1, sizeof *server->connections);
  server->connections[server->count++] = (struct connection){fd, NULL, 0, 0};
}

static void drop_client(struct server *server, size_t index) {
  const struct connection gone = server->connections[index];
  service_forget(server->service, gone.fd);
  close(gone.fd);
  free(gone.bytes);
  server->connections[index] = server->connections[--server->count];
}

static void take_ends(struct server *server) {
  siginfo_t end;
  /* Its pid is nobody else's until it has been waited for. */
  for (end.si_pid = 0; waitid(P_ALL, 0, &end, WEXITED | WNOHANG | WNOWAIT) == 0 && end.si_pid > 0; end.si_pid = 0) {
    service_ended(server->service, end.si_pid, (uint32_t)(end.si_code == CLD_EXITED ? end.si_status : 128 + end.si_status));
    (void)waitpid(end.si_pid, NULL, 0);
  }
}

/* One round. 1: its end has come. */
static int take_turns(struct server *server, int listening, int signals) {
  const size_t count = server->count;
  struct pollfd *const wait = zeroed((count + 2) * sizeof *wait);
  struct signalfd_siginfo signal;
  size_t i = 0;
  int over = 0;
  wait[0] = (struct pollfd){signals, POLLIN, 0};
  wait[1] = (struct pollfd){listening, POLLIN, 0};
  for (i = 0; i < count; ++i) wait[i + 2] = (struct pollfd){server->connections[i].fd, POLLIN, 0};
  if (poll(wait, count + 2, -1) < 0) {
    free(wait);
    return errno == EINTR ? 0 : -1;
  }
  if (wait[0].revents != 0 && read(signals, &signal, sizeof signal) == (ssize_t)sizeof signal) {
    over = signal.ssi_signo == SIGTERM;
    take_ends(server);
  }
  /* From the last: what takes the place of one that is dropped has had its turn. */
  for (i = count; i > 0; --i) {
    if (wait[i + 1].revents != 0 && !read_some(server, &server->connections[i - 1])) drop_client(server, i - 1);
  }
  if (wait[1].revents != 0) take_client(server, listening);
  free(wait);
  return over || service_is_over(server->service);
}

int serve(int listening, struct service *service) {
  struct server server = {service, NULL, 0};
  int signals = -1;
  int over = 0;
  sigset_t taken;
  sigemptyset(&taken);
  sigaddset(&taken, SIGCHLD);
  sigaddset(&taken, SIGTERM);
  (void)signal(SIGPIPE, SIG_IGN);
  if (sigprocmask(SIG_BLOCK, &taken, NULL) != 0) return -1;
  signals = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) return -1;
  while (over == 0) over = take_turns(&server, listening, signals);
  return over > 0 ? 0 : -1;
}
