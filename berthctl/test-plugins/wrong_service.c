/* A service that is right but in one thing, which its configuration names. */
#define _GNU_SOURCE
#include <berth/c_helpers.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "wrong_service_descriptors.h"

enum { SAY, REPEAT, COUNT };
enum { REPLIES = 20000 };

struct wrong {
  const berth_host* host;
  berth_str mistake;
  pthread_mutex_t mutex; /* held where none should be */
};

static int makes(const struct wrong* self, const char* mistake) {
  return strlen(mistake) == self->mistake.size &&
         memcmp(self->mistake.data, mistake, self->mistake.size) == 0;
}

static void refuse(const struct wrong* self, berth_call* call) {
  static const char not_text[] = "malformed: \xff";
  berth_status status = {BERTH_CODE_INVALID_ARGUMENT, 0, BERTH_TEXT("malformed"), {NULL, 0, 0}};
  if (makes(self, "no-text")) status.message = berth_text(not_text);
  if (makes(self, "no-details")) status.details = berth_text("details");
  self->host->finish(call, &status, NULL);
}

/* A Word with a number. */
static berth_message word_of(const struct wrong* self, uint64_t number) {
  berth_message message = berth_new_message(self->host, berth_pb_put_number(NULL, 2, number));
  if (message.body.data != NULL) {
    (void)berth_pb_put_number(berth_message_data(&message), 2, number);
  }
  return message;
}

static int is_good(berth_bytes bytes) {
  berth_pb_reader in = berth_pb_read(bytes);
  berth_pb_field field;
  while (berth_pb_next(&in, &field)) {
    uint32_t i = 0;
    for (i = 0; i < field.bytes.size; ++i) {
      if ((unsigned char)field.bytes.data[i] >= 0x80) return 0; /* no word that it knows */
    }
  }
  return !in.malformed;
}

static void say(const struct wrong* self, berth_call* call) {
  berth_message reply;
  if (makes(self, "keeps-memory")) {
    /* Where no optimiser sees that nobody wants it. */
    void* volatile kept = malloc(200);
    (void)kept;
  }
  if (makes(self, "keeps-files")) (void)!open("/dev/null", O_RDONLY | O_CLOEXEC);
  reply = word_of(self, 1);
  if (reply.body.data != NULL && makes(self, "no-message")) berth_message_data(&reply)[0] = 0xff;
  if (reply.body.data != NULL && makes(self, "other-fields")) berth_message_data(&reply)[0] = 0x78;
  berth_answer(self->host, call, reply);
}

static void repeat(struct wrong* self, berth_call* call) {
  int i = 0;
  const int one_at_a_time = makes(self, "one-at-a-time");
  if (one_at_a_time) (void)pthread_mutex_lock(&self->mutex);
  for (i = 0; i < REPLIES; ++i) {
    berth_message word = word_of(self, (uint64_t)i + 1);
    if (word.body.data == NULL) break;
    if (self->host->send(call, &word, BERTH_FOREVER) != BERTH_OK) {
      berth_drop_message(&word);
      break;
    }
  }
  if (one_at_a_time) (void)pthread_mutex_unlock(&self->mutex);
  self->host->finish(call, NULL, NULL);
}

static void count(const struct wrong* self, berth_call* call) {
  berth_message word;
  uint64_t number = 1;
  while (self->host->recv(call, BERTH_FOREVER, &word) == BERTH_OK) {
    const int good = is_good(word.body) || makes(self, "takes-anything");
    berth_drop_message(&word);
    if (!good) {
      refuse(self, call);
      return;
    }
    ++number;
  }
  if (makes(self, "waits-for-more")) {
    while (!self->host->cancelled(call)) (void)usleep(1000);
  }
  berth_answer(self->host, call, word_of(self, number));
}

static void handle(void* instance, uint32_t service, uint32_t method, berth_call* call) {
  struct wrong* self = instance;
  (void)service;
  if (method == COUNT) {
    count(self, call);
  } else if (!is_good(self->host->request(call)) && !makes(self, "takes-anything")) {
    refuse(self, call);
  } else if (method == REPEAT) {
    repeat(self, call);
  } else {
    say(self, call);
  }
}

static int32_t init(const berth_host* host, berth_self* self, void** instance) {
  struct wrong* one = malloc(sizeof *one);
  if (one == NULL) return berth_failed(host, self, BERTH_CODE_RESOURCE_EXHAUSTED, "no memory");
  one->host = host;
  one->mistake = host->config(self, berth_text("mistake"));
  (void)pthread_mutex_init(&one->mutex, NULL);
  *instance = one;
  return 0;
}

static const berth_method methods[] = {{BERTH_TEXT("Say"), 0, 0},
                                       {BERTH_TEXT("Repeat"), BERTH_METHOD_SERVER_STREAM, 0},
                                       {BERTH_TEXT("Count"), BERTH_METHOD_CLIENT_STREAM, 0}};
static const berth_service service_table = {
    sizeof(berth_service),
    3,
    BERTH_TEXT("berth.test.v1.WrongService"),
    methods,
    {wrong_service_descriptors, sizeof wrong_service_descriptors, NULL, NULL, 0}};
static const berth_service* const services[] = {&service_table};
static const berth_plugin plugin = {sizeof(berth_plugin),
                                    1,
                                    BERTH_TEXT("io.containerd.grpc.v1"),
                                    BERTH_TEXT("wrong"),
                                    services,
                                    NULL,
                                    init,
                                    NULL,
                                    handle,
                                    NULL};
static const berth_plugin* const plugins[] = {&plugin};
static const berth_module module = {sizeof(berth_module), BERTH_ABI_MAJOR, BERTH_ABI_MINOR, 1,
                                    plugins};

__attribute__((visibility("default"))) const berth_module* berth_plugin_entry_v0(void);
const berth_module* berth_plugin_entry_v0(void) { return &module; }
