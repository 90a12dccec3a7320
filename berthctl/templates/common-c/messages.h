/* What every method of a service in C does with its messages: unpack, answer, send. With protobuf-c. */
#ifndef MESSAGES_H
#define MESSAGES_H

#include <berth/c_helpers.h>
#include <protobuf-c/protobuf-c.h>

#include "failure.h"
#include "text.h"

/* The request of a call without client stream; free it with protobuf_c_message_free_unpacked(). NULL, and the call has been answered,
 * when the bytes are no such message or memory is gone. */
ProtobufCMessage *unpack_request(const berth_host *host, berth_call *call, const ProtobufCMessageDescriptor *type);
/* The next request of a client stream; free it as above. 0 and NULL after the last one; else why there is none: the caller is gone, or
 * the bytes are no such message. */
int32_t receive_message(const berth_host *host, berth_call *call, const ProtobufCMessageDescriptor *type, ProtobufCMessage **out,
                        struct failure *why);
/* Ends a call with a response. */
void answer_message(const berth_host *host, berth_call *call, const ProtobufCMessage *response);
void answer_failure(const berth_host *host, berth_call *call, const struct failure *why);
/* Sends one message of a server stream. 0, or why it did not arrive: the client may be gone. */
int32_t send_message(const berth_host *host, berth_call *call, const ProtobufCMessage *message, struct failure *why);

/* A copy of a message, by way of its bytes. NULL when memory is gone. */
ProtobufCMessage *copy_message(const ProtobufCMessage *message);

#endif
