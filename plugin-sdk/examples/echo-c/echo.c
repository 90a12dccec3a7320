/* A plugin in plain C99: nothing but berth/abi.h and the C library. */
#include <berth/c_helpers.h>
#include <stdlib.h>

#include "echo_descriptors.h" /* generated from echo.proto */

/* One instance. The host never unloads a plugin, so it is never freed. */
struct echo {
  const berth_host* host;
  berth_str prefix; /* lives for ever: configuration does */
};

struct request {
  berth_str text;
  uint32_t count;
};

/* 0 and the call is ended when the request is not one that can be answered. */
static int read_request(const struct echo* echo, berth_call* call, struct request* out) {
  berth_pb_reader in = berth_pb_read(echo->host->request(call));
  berth_pb_field field;
  memset(out, 0, sizeof *out);
  while (berth_pb_next(&in, &field)) {
    if (field.number == 1 && field.wire == BERTH_PB_BYTES) out->text = field.bytes;
    if (field.number == 2 && field.wire == BERTH_PB_VARINT) out->count = (uint32_t)field.value;
  }
  if (in.malformed) {
    berth_answer_error(echo->host, call, BERTH_CODE_INVALID_ARGUMENT,
                       "echo: the request is not a well-formed EchoRequest");
    return 0;
  }
  if (out->text.size == 0) {
    berth_answer_error(echo->host, call, BERTH_CODE_INVALID_ARGUMENT,
                       "echo: text is empty: say something");
    return 0;
  }
  return 1;
}

static uint64_t put_response(unsigned char* out, berth_str text, uint32_t index, berth_str ns) {
  uint64_t size = berth_pb_put_text(out, 1, text);
  size += berth_pb_put_number(out == NULL ? NULL : out + size, 2, index);
  return size + berth_pb_put_text(out == NULL ? NULL : out + size, 3, ns);
}

/* body.data is NULL when memory is gone. */
static berth_message new_response(const struct echo* echo, const berth_call* call, berth_str text,
                                  uint32_t index) {
  const berth_host* host = echo->host;
  const berth_str ns = host->header(call, berth_text("containerd-namespace"));
  berth_message message;
  berth_str whole = {NULL, echo->prefix.size + text.size, 0};
  char* joined = malloc((size_t)whole.size + 1);
  if (joined == NULL) {
    memset(&message, 0, sizeof message);
    return message;
  }
  if (echo->prefix.size != 0) memcpy(joined, echo->prefix.data, echo->prefix.size);
  memcpy(joined + echo->prefix.size, text.data, text.size);
  whole.data = joined;
  message = berth_new_message(host, put_response(NULL, whole, index, ns));
  if (message.body.data != NULL) (void)put_response(berth_message_data(&message), whole, index, ns);
  free(joined);
  return message;
}

static void say(const struct echo* echo, berth_call* call) {
  struct request request;
  if (read_request(echo, call, &request))
    berth_answer(echo->host, call, new_response(echo, call, request.text, 0));
}

static void repeat(const struct echo* echo, berth_call* call) {
  struct request request;
  uint32_t i = 0;
  if (!read_request(echo, call, &request)) return;
  for (i = 0; i < request.count; ++i) {
    berth_message message = new_response(echo, call, request.text, i);
    if (message.body.data == NULL) {
      berth_answer_error(echo->host, call, BERTH_CODE_RESOURCE_EXHAUSTED,
                         "echo: no memory for a response");
      return;
    }
    /* Waits for room; anything but OK means that nobody listens any more, and the message is still
     * ours. */
    if (echo->host->send(call, &message, BERTH_FOREVER) != BERTH_OK) {
      berth_drop_message(&message);
      break;
    }
  }
  echo->host->finish(call, NULL, NULL);
}

static int32_t init(const berth_host* host, berth_self* self, void** instance) {
  struct echo* echo = malloc(sizeof *echo);
  if (echo == NULL)
    return berth_failed(host, self, BERTH_CODE_RESOURCE_EXHAUSTED,
                        "echo: no memory for the instance");
  echo->host = host;
  echo->prefix = host->config(self, berth_text("prefix"));
  host->log(self, BERTH_LOG_INFO, berth_text("an echo in C is ready"), NULL, 0);
  *instance = echo;
  return 0;
}

static void handle(void* instance, uint32_t service, uint32_t method, berth_call* call) {
  const struct echo* echo = instance;
  (void)service; /* there is one */
  if (method == 0) {
    say(echo, call);
  } else {
    repeat(echo, call);
  }
}

static const berth_method methods[] = {
    {BERTH_TEXT("Say"), 0, 0},
    {BERTH_TEXT("Repeat"), BERTH_METHOD_SERVER_STREAM, 0},
};

static const berth_service echo_service = {
    sizeof(berth_service),
    2,
    BERTH_TEXT("berth.example.echo.v1.Echo"),
    methods,
    {echo_descriptors, sizeof echo_descriptors, NULL, NULL, 0}};

static const berth_service* const services[] = {&echo_service};

static const berth_plugin echo_plugin = {sizeof(berth_plugin),
                                         1,
                                         BERTH_TEXT("io.containerd.grpc.v1"),
                                         BERTH_TEXT("echo-c"),
                                         services,
                                         NULL /* probe */,
                                         init,
                                         NULL /* start */,
                                         handle,
                                         NULL /* stop */};

static const berth_plugin* const plugins[] = {&echo_plugin};

static const berth_module module = {sizeof(berth_module), BERTH_ABI_MAJOR, BERTH_ABI_MINOR, 1,
                                    plugins};

__attribute__((visibility("default"))) const berth_module* berth_plugin_entry_v0(void);
const berth_module* berth_plugin_entry_v0(void) { return &module; }
