#define _GNU_SOURCE
#include "ttrpc.h"

#include <arpa/inet.h>
#include <berth/c_helpers.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "memory.h"

struct ttrpc_head ttrpc_read_head(const uint8_t *bytes) {
  struct ttrpc_head head = {0, 0, bytes[8], bytes[9]};
  memcpy(&head.size, bytes, 4);
  memcpy(&head.stream, bytes + 4, 4);
  head.size = ntohl(head.size);
  head.stream = ntohl(head.stream);
  return head;
}

ProtobufCBinaryData packed(const ProtobufCMessage *message) {
  ProtobufCBinaryData out = {0, NULL};
  if (message == NULL) return out;
  out.len = protobuf_c_message_get_packed_size(message);
  out.data = zeroed(out.len + 1);
  (void)protobuf_c_message_pack(message, out.data);
  return out;
}

int ttrpc_send(int fd, uint32_t stream, enum ttrpc_type type, const ProtobufCMessage *message) {
  const size_t size = protobuf_c_message_get_packed_size(message);
  uint8_t *const bytes = zeroed(TTRPC_HEAD + size);
  uint32_t number = htonl((uint32_t)size);
  size_t at = 0;
  memcpy(bytes, &number, 4);
  number = htonl(stream);
  memcpy(bytes + 4, &number, 4);
  bytes[8] = (uint8_t)type;
  (void)protobuf_c_message_pack(message, bytes + TTRPC_HEAD);
  while (at < TTRPC_HEAD + size) {
    const ssize_t count = send(fd, bytes + at, TTRPC_HEAD + size - at, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) break;
    at += (size_t)count;
  }
  free(bytes);
  return at == TTRPC_HEAD + size ? 0 : -1;
}

int ttrpc_answer(int fd, uint32_t stream, const ProtobufCMessage *response, const struct failure *why) {
  Ttrpc__Response answer = TTRPC__RESPONSE__INIT;
  Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
  int sent = 0;
  if (why != NULL) {
    status.code = why->code;
    status.message = (char *)why->text;
    answer.status = &status;
  } else {
    answer.payload = packed(response);
  }
  sent = ttrpc_send(fd, stream, TTRPC_RESPONSE, &answer.base);
  free(answer.payload.data);
  return sent;
}

static int read_all(int fd, uint8_t *bytes, size_t size) {
  while (size > 0) {
    const ssize_t count = recv(fd, bytes, size, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) errno = ECONNRESET;
    if (count <= 0) return -1;
    bytes += count;
    size -= (size_t)count;
  }
  return 0;
}

static int32_t connect_to(const char *path, int seconds, int *fd, struct failure *why) {
  const struct timeval limit = {seconds, 0};
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) return fail_errno(why, ENAMETOOLONG, path);
  strcpy(address.sun_path, path);
  *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (*fd < 0) return fail_errno(why, errno, "make a socket");
  if (setsockopt(*fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0 ||
      setsockopt(*fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
      connect(*fd, (const struct sockaddr *)&address, sizeof address) != 0) {
    return fail_errno(why, errno, path);
  }
  return 0;
}

int32_t ttrpc_tell(const char *path, const char *service, const char *method, const ProtobufCMessage *request, int seconds,
                   struct failure *why) {
  Ttrpc__Request call = TTRPC__REQUEST__INIT;
  uint8_t head[TTRPC_HEAD];
  int fd = -1;
  int32_t code = connect_to(path, seconds, &fd, why);
  call.service = (char *)service;
  call.method = (char *)method;
  call.payload = packed(request);
  call.timeout_nano = seconds * INT64_C(1000000000);
  /* The head of the answer is the answer: it has been taken. */
  if (code == 0 && (ttrpc_send(fd, 1, TTRPC_REQUEST, &call.base) != 0 || read_all(fd, head, sizeof head) != 0)) {
    code = fail_errno(why, errno, path);
  }
  free(call.payload.data);
  if (fd >= 0) close(fd);
  return code;
}
