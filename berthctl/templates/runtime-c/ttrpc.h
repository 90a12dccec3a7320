/* The protocol of shims: frames of a head and a message, a call's answer with the number of the call. Sockets block, with a time limit. */
#ifndef TTRPC_H
#define TTRPC_H

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

#include "failure.h"
#include "ttrpc/ttrpc.pb-c.h"

#define TTRPC_HEAD 10
#define TTRPC_LARGEST (4 << 20) /* of a message */

enum ttrpc_type { TTRPC_REQUEST = 1, TTRPC_RESPONSE = 2 };

struct ttrpc_head {
  uint32_t size, stream;
  uint8_t type, flags;
};

struct ttrpc_head ttrpc_read_head(const uint8_t *bytes);
/* 0, or -1 and errno: nothing more can be sent. */
int ttrpc_send(int fd, uint32_t stream, enum ttrpc_type type, const ProtobufCMessage *message);
/* The answer to a request. `response`: NULL is an empty message; not looked at with a failure, which is NULL without. */
int ttrpc_answer(int fd, uint32_t stream, const ProtobufCMessage *response, const struct failure *why);
/* Calls what serves at a path and waits for the answer, which is not looked at, for so long at most. */
int32_t ttrpc_tell(const char *path, const char *service, const char *method, const ProtobufCMessage *request, int seconds,
                   struct failure *why);

/* A packed message; data is to be freed. */
ProtobufCBinaryData packed(const ProtobufCMessage *message);

#endif
