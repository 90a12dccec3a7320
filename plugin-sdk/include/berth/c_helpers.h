/* What plugins in C would otherwise each write for themselves: text, answers, and reading and writing protobuf messages
 * by hand. C99, header-only, on top of berth/abi.h; nothing here crosses the boundary, so its layouts may change.
 *
 * With protobuf-c: unpack from host->request(call); for the answer take berth_new_message(host, size of the packed
 * message), pack into berth_message_data(&message) and give it to berth_answer().
 */
#ifndef BERTH_C_HELPERS_H
#define BERTH_C_HELPERS_H

#include <berth/abi.h>

#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Canonical status codes, as gRPC has them. */
enum berth_code {
  BERTH_CODE_OK = 0,
  BERTH_CODE_CANCELLED = 1,
  BERTH_CODE_UNKNOWN = 2,
  BERTH_CODE_INVALID_ARGUMENT = 3,
  BERTH_CODE_DEADLINE_EXCEEDED = 4,
  BERTH_CODE_NOT_FOUND = 5,
  BERTH_CODE_ALREADY_EXISTS = 6,
  BERTH_CODE_PERMISSION_DENIED = 7,
  BERTH_CODE_RESOURCE_EXHAUSTED = 8,
  BERTH_CODE_FAILED_PRECONDITION = 9,
  BERTH_CODE_ABORTED = 10,
  BERTH_CODE_OUT_OF_RANGE = 11,
  BERTH_CODE_UNIMPLEMENTED = 12,
  BERTH_CODE_INTERNAL = 13,
  BERTH_CODE_UNAVAILABLE = 14,
  BERTH_CODE_DATA_LOSS = 15,
  BERTH_CODE_UNAUTHENTICATED = 16
};

/* -- text -------------------------------------------------------------------------------------------------------- */

/* A string literal as a constant initialiser. */
#define BERTH_TEXT(literal) \
  { literal, (uint32_t)(sizeof(literal) - 1), 0 }

/* Borrows from a NUL-terminated string. */
static inline berth_str berth_text(const char *text) {
  berth_str out = {text, (uint32_t)strlen(text), 0};
  return out;
}

/* -- ends of calls ----------------------------------------------------------------------------------------------- */

/* Ends a call, or a lifecycle step with berth_failed(), as failed. `message` is NUL-terminated and copied. */
static inline void berth_answer_error(const berth_host *host, berth_call *call, int32_t code, const char *message) {
  berth_status status = {0, 0, {NULL, 0, 0}, {NULL, 0, 0}};
  status.code = code;
  status.message = berth_text(message);
  host->finish(call, &status, NULL);
}

/* For `return berth_failed(host, self, BERTH_CODE_NOT_FOUND, "…")` in probe, init and start. */
static inline int32_t berth_failed(const berth_host *host, berth_self *self, int32_t code, const char *message) {
  berth_status status = {0, 0, {NULL, 0, 0}, {NULL, 0, 0}};
  status.code = code;
  status.message = berth_text(message);
  host->fail(self, &status);
  return code;
}

/* A message of `size` bytes in memory of the host, to be filled in and given away with berth_answer() or a send slot.
 * body.data is NULL when memory is gone. */
static inline berth_message berth_new_message(const berth_host *host, uint64_t size) {
  berth_message message = {{NULL, 0, NULL, NULL, 0}, NULL, 0, 0};
  void *memory = host->alloc(size == 0 ? 1 : size);
  if (memory != NULL) {
    message.body.data = memory;
    message.body.size = size;
    message.body.release = host->dealloc;
    message.body.owner = memory;
  }
  return message;
}

static inline unsigned char *berth_message_data(berth_message *message) {
  return (unsigned char *)message->body.owner;
}

/* Releases a message that was received, or not given away. */
static inline void berth_drop_message(berth_message *message) {
  if (message->body.release != NULL) message->body.release(message->body.owner);
  memset(message, 0, sizeof *message);
}

/* Ends a call without server stream with OK and `message`, which is given away. */
static inline void berth_answer(const berth_host *host, berth_call *call, berth_message message) {
  if (message.body.data == NULL) {
    berth_answer_error(host, call, BERTH_CODE_RESOURCE_EXHAUSTED, "no memory for the response");
    return;
  }
  host->finish(call, NULL, &message);
}

/* -- protobuf messages by hand --------------------------------------------------------------------------------------
 * Reading:
 *   berth_pb_reader in = berth_pb_read(host->request(call));
 *   berth_pb_field field;
 *   while (berth_pb_next(&in, &field)) {
 *     if (field.number == 1 && field.wire == BERTH_PB_BYTES) text = field.bytes;
 *   }
 *   if (in.malformed) …
 */

#define BERTH_PB_VARINT 0u
#define BERTH_PB_FIXED64 1u
#define BERTH_PB_BYTES 2u
#define BERTH_PB_FIXED32 5u

typedef struct berth_pb_reader {
  const unsigned char *at;
  const unsigned char *end;
  int malformed;
} berth_pb_reader;

typedef struct berth_pb_field {
  uint32_t number;
  uint32_t wire;
  uint64_t value;  /* of BERTH_PB_VARINT, BERTH_PB_FIXED32 and BERTH_PB_FIXED64 */
  berth_str bytes; /* of BERTH_PB_BYTES: strings, bytes, messages; borrowed from the message */
} berth_pb_field;

static inline berth_pb_reader berth_pb_read(berth_bytes message) {
  berth_pb_reader in = {(const unsigned char *)message.data, (const unsigned char *)message.data + message.size, 0};
  if (message.data == NULL) in.at = in.end = NULL;
  return in;
}

/* Any number of bytes is read safely; a varint ends after ten. */
static inline int berth_pb_varint(berth_pb_reader *in, uint64_t *out) {
  uint64_t value = 0;
  unsigned shift = 0;
  for (; shift < 70 && in->at != in->end; shift += 7) {
    const unsigned char byte = *in->at++;
    if (shift < 64) value |= (uint64_t)(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) {
      *out = value;
      return 1;
    }
  }
  in->malformed = 1;
  return 0;
}

/* The next field; 0 at the end and when the message is not well formed. */
static inline int berth_pb_next(berth_pb_reader *in, berth_pb_field *field) {
  uint64_t tag = 0;
  if (in->malformed || in->at == in->end) return 0;
  memset(field, 0, sizeof *field);
  if (!berth_pb_varint(in, &tag)) return 0;
  field->number = (uint32_t)(tag >> 3);
  field->wire = (uint32_t)(tag & 7);
  if (field->wire == BERTH_PB_VARINT) return berth_pb_varint(in, &field->value);
  if (field->wire == BERTH_PB_BYTES) {
    uint64_t size = 0;
    if (!berth_pb_varint(in, &size)) return 0;
    if (size <= (uint64_t)(in->end - in->at) && size <= UINT32_MAX) {
      field->bytes.data = (const char *)in->at;
      field->bytes.size = (uint32_t)size;
      in->at += size;
      return 1;
    }
  }
  if (field->wire == BERTH_PB_FIXED64 || field->wire == BERTH_PB_FIXED32) {
    const size_t size = field->wire == BERTH_PB_FIXED64 ? 8 : 4;
    size_t i = 0;
    if (size <= (size_t)(in->end - in->at)) {
      for (i = 0; i < size; ++i) field->value |= (uint64_t)in->at[i] << (8 * i);
      in->at += size;
      return 1;
    }
  }
  in->malformed = 1;
  return 0;
}

/* Writing: call the put functions twice, first with out == NULL to add up the size, then into the memory. They return
 * the number of bytes; fields that have their default value are left out, as proto3 wants it. */

static inline uint64_t berth_pb_put_raw(unsigned char *out, uint64_t value) {
  uint64_t size = 0;
  do {
    const unsigned char low = (unsigned char)(value & 0x7f);
    value >>= 7;
    if (out != NULL) out[size] = (unsigned char)(low | (value != 0 ? 0x80 : 0));
    ++size;
  } while (value != 0);
  return size;
}

static inline uint64_t berth_pb_put_number(unsigned char *out, uint32_t number, uint64_t value) {
  uint64_t size = 0;
  if (value == 0) return 0;
  size = berth_pb_put_raw(out, (uint64_t)number << 3 | BERTH_PB_VARINT);
  return size + berth_pb_put_raw(out == NULL ? NULL : out + size, value);
}

static inline uint64_t berth_pb_put_text(unsigned char *out, uint32_t number, berth_str text) {
  uint64_t size = 0;
  if (text.size == 0) return 0;
  size = berth_pb_put_raw(out, (uint64_t)number << 3 | BERTH_PB_BYTES);
  size += berth_pb_put_raw(out == NULL ? NULL : out + size, text.size);
  if (out != NULL) memcpy(out + size, text.data, text.size);
  return size + text.size;
}

#ifdef __cplusplus
}
#endif
#endif
