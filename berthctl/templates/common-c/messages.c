#include "messages.h"

#include <stdlib.h>
#include <string.h>

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

/* The bytes that follow the first of a character; -1: it is none. */
static int followers(unsigned char first) {
  if (first < 0x80) return 0;
  if (first >= 0xc2 && first < 0xe0) return 1;
  if (first >= 0xe0 && first < 0xf0) return 2;
  if (first >= 0xf0 && first < 0xf5) return 3;
  return -1;
}

int is_text(const char *text) {
  const unsigned char *at = (const unsigned char *)text;
  while (*at != '\0') {
    const unsigned char first = *at++;
    int left = followers(first);
    if (left < 0) return 0;
    /* Longer than need be, halves of pairs, and beyond the last. */
    if ((first == 0xe0 && *at < 0xa0) || (first == 0xed && *at > 0x9f) || (first == 0xf0 && *at < 0x90) ||
        (first == 0xf4 && *at > 0x8f)) {
      return 0;
    }
    for (; left > 0; --left, ++at) {
      if ((*at & 0xc0) != 0x80) return 0;
    }
  }
  return 1;
}

char *copy_text(berth_str text) {
  char *out = malloc((size_t)text.size + 1);
  if (out == NULL) return NULL;
  if (text.size != 0) memcpy(out, text.data, text.size);
  out[text.size] = '\0';
  return out;
}
