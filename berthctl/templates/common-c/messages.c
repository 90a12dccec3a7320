#include "messages.h"

#include <stdlib.h>

ProtobufCMessage *unpack_request(const berth_host *host, berth_call *call, const ProtobufCMessageDescriptor *type) {
  const berth_bytes bytes = host->request(call); /* borrowed until handle() returns */
  ProtobufCMessage *request = protobuf_c_message_unpack(type, NULL, bytes.size, bytes.data);
  if (request == NULL) {
    struct failure why;
    fail(&why, BERTH_CODE_INVALID_ARGUMENT, "the request is not a well-formed %s", type->name);
    answer_failure(host, call, &why);
  }
  return request;
}

int32_t receive_message(const berth_host *host, berth_call *call, const ProtobufCMessageDescriptor *type, ProtobufCMessage **out,
                        struct failure *why) {
  berth_message message;
  const int32_t got = host->recv(call, BERTH_FOREVER, &message);
  *out = NULL;
  if (got == BERTH_END) return 0;
  if (got != BERTH_OK) return fail(why, BERTH_CODE_CANCELLED, "the caller is gone");
  *out = protobuf_c_message_unpack(type, NULL, message.body.size, message.body.data);
  berth_drop_message(&message);
  return *out == NULL ? fail(why, BERTH_CODE_INVALID_ARGUMENT, "a request is not a well-formed %s", type->name) : 0;
}

static berth_message packed(const berth_host *host, const ProtobufCMessage *message) {
  berth_message out = berth_new_message(host, protobuf_c_message_get_packed_size(message));
  if (out.body.data != NULL) protobuf_c_message_pack(message, berth_message_data(&out));
  return out;
}

void answer_message(const berth_host *host, berth_call *call, const ProtobufCMessage *response) {
  berth_answer(host, call, packed(host, response)); /* ends the call, also where there was no memory */
}

void answer_failure(const berth_host *host, berth_call *call, const struct failure *why) {
  berth_answer_error(host, call, why->code, why->text);
}

int32_t send_message(const berth_host *host, berth_call *call, const ProtobufCMessage *message, struct failure *why) {
  berth_message out = packed(host, message);
  if (out.body.data == NULL) return fail(why, BERTH_CODE_RESOURCE_EXHAUSTED, "no memory for a message");
  if (host->send(call, &out, BERTH_FOREVER) == BERTH_OK) return 0;
  berth_drop_message(&out);
  return fail(why, BERTH_CODE_CANCELLED, "the caller is gone");
}

ProtobufCMessage *copy_message(const ProtobufCMessage *message) {
  const size_t size = protobuf_c_message_get_packed_size(message);
  uint8_t *bytes = malloc(size == 0 ? 1 : size);
  ProtobufCMessage *copy = NULL;
  if (bytes == NULL) return NULL;
  protobuf_c_message_pack(message, bytes);
  copy = protobuf_c_message_unpack(message->descriptor, NULL, size, bytes);
  free(bytes);
  return copy;
}
