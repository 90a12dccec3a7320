/* The plugin ABI of Berth: everything that a plugin and the host say to one another.
 *
 * C99, no other header of Berth. A plugin is a shared object that exports one symbol, BERTH_ENTRY_SYMBOL, and carries
 * its plugin.toml in an ELF note (docs/formats/plugin-manifest.md). What crosses this boundary is bytes: a method, headers,
 * message bytes, file descriptors and a status. The reasons stand in docs/abi.md.
 *
 * RULES, referred to below as [n]
 *  [1] A unary call runs on the caller's thread. A request is borrowed until handle() returns; a handler that answers
 *      later takes or parses it first, and one that forwards later gives the request along.
 *  [2] One client end owns the response and the status, until it is released.
 *  [3] `finish` or `forward` exactly once for every call, from any thread, also after stop or cancel; the handle is dead
 *      on return. A finish that comes after the host ended the call is a no-op.
 *  [4] After a deadline or a cancel the host's code wins over the handler's.
 *  [5] runs-others: the slot may run foreign code on your thread. Hold no lock and no transaction there.
 *  [6] serial-per-side: the sending and the receiving side of one end are each used by one thread at a time; the two
 *      sides may be used at once.
 *  [7] A timeout of 0 asks and does not wait; BERTH_AGAIN means nothing was taken and nothing is lost. Ready
 *      callbacks are one-shot and run on host threads, or with BERTH_INLINE on the thread that made the end ready; an
 *      inline callback does not block, and never nests in another one.
 *  [8] `release` and `finish` wait until a running callback of that end has returned, except when called by it. A
 *      cancel callback runs at most once and never after `finish`.
 *  [9] Flow control counts bytes plus BERTH_MESSAGE_CHARGE per message. An end of a bidirectional stream that only
 *      writes and never reads may wait for ever.
 * [10] A handler without BERTH_METHOD_NO_BLOCK that is called from outside has a thread of its own. When none is to be
 *      had the call is refused with RESOURCE_EXHAUSTED; an admitted call is never queued.
 * [11] Stop: new calls are refused, calls in flight are cancelled, `stop` runs, handlers and unfinished calls are waited
 *      for until the deadline, the rest is answered UNAVAILABLE. Dependants stop first. The host table and targets live
 *      for ever; a plugin is never unloaded.
 * [12] The parent of a call is an unfinished server end. Work that outlives it calls without a parent and copies
 *      the headers that it needs.
 * [13] Headers whose key starts with "berth-" go one hop: they are neither inherited nor accepted from clients.
 * [14] Descriptors belong to their message. They move with it on success, and are closed unless taken. They are sent
 *      only where the receiver asked for them with the header "berth-accept-fds: 1", read-only, never to a client.
 * [15] Release hooks run on any thread and do not block.
 *
 * STRUCTS. berth_str, berth_bytes, berth_message, berth_header, berth_method, berth_status are frozen. Every other struct
 * begins with `struct_size` and grows only at its end within a major; read a member only when `struct_size` of the other
 * side reaches it (BERTH_HAS). Pointers to structs are borrowed for the call in which they are given, tables for ever.
 *
 * THREAD TAGS stand before each slot: any-thread, init-thread (inside probe, init or start), serial-per-side [6], may-block,
 * runs-others [5]. Nothing is thrown across this boundary. Strings are UTF-8, not NUL-terminated, and may be empty.
 */
#ifndef BERTH_ABI_H
#define BERTH_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BERTH_ABI_MAJOR 0u
#define BERTH_ABI_MINOR 1u
#define BERTH_ENTRY_SYMBOL "berth_plugin_entry_v0"

#define BERTH_HAS(table, member) \
  ((table)->struct_size >= offsetof(__typeof__(*(table)), member) + sizeof((table)->member))

/* Outcomes of the slots that move messages. */
#define BERTH_OK 0
#define BERTH_AGAIN 1     /* nothing was taken or given in the time allowed [7] */
#define BERTH_END 2       /* the other side will send no more; on the client side ask for the status */
#define BERTH_CANCELLED 3 /* the call was cancelled, timed out, or is finished */
#define BERTH_REFUSED 4   /* wrong use, or no such thing; nothing was taken */

#define BERTH_FOREVER INT64_MAX    /* as a timeout or a deadline: none */
#define BERTH_MESSAGE_CHARGE 256u  /* bytes added to each message by flow control [9] */
#define BERTH_NO_METHOD UINT32_MAX

/* Borrowed text. */
typedef struct berth_str {
  const char *data;
  uint32_t size; /* bytes */
  uint32_t spare;
} berth_str;

/* Message bytes. release == NULL: borrowed for the call it is given in. Else whoever holds the struct last calls
 * release(owner) once [15]. */
typedef struct berth_bytes {
  const void *data;
  uint64_t size;
  void (*release)(void *owner);
  void *owner;
  uint64_t spare;
} berth_bytes;

/* One message. Given to the host: when body.release is set, body and descriptors move on BERTH_OK, else the body is
 * copied as far as it must outlive the slot. Received from the host: yours to release and close. */
typedef struct berth_message {
  berth_bytes body;
  const int32_t *fds; /* [14]; the array itself is borrowed, on receipt until body.release */
  uint32_t fd_count;
  uint32_t spare;
} berth_message;

typedef struct berth_header {
  berth_str key; /* lower case */
  berth_str value;
  uint64_t spare;
} berth_header;

/* code: a canonical gRPC code (0 = OK … 16). details: a serialized google.rpc.Status, or empty. */
typedef struct berth_status {
  int32_t code;
  uint32_t spare;
  berth_str message;
  berth_str details;
} berth_status;

#define BERTH_METHOD_CLIENT_STREAM 1u /* any number of requests */
#define BERTH_METHOD_SERVER_STREAM 2u /* any number of responses */
#define BERTH_METHOD_NO_BLOCK 4u      /* handle() returns in microseconds and may run on an event thread */

typedef struct berth_method {
  berth_str name; /* without its service: "Prepare" */
  uint32_t flags;
  uint32_t spare;
} berth_method;

typedef struct berth_call berth_call;     /* the server end of a call */
typedef struct berth_client berth_client; /* the client end of a call */
typedef struct berth_target berth_target; /* a plugin that one is connected to; lives for ever */
typedef struct berth_self berth_self;     /* this instance, as the host knows it; lives for ever */

typedef void (*berth_callback)(void *context);

/* Who called, as the kernel told it when the connection was accepted. */
typedef struct berth_peer {
  uint32_t struct_size; /* set by the caller to what it knows */
  uint32_t known;       /* 0: the other members say nothing (a call that began inside the daemon) */
  int32_t pid;
  uint32_t uid;
  uint32_t gid;
} berth_peer;

#define BERTH_LOG_TRACE 0u
#define BERTH_LOG_DEBUG 1u
#define BERTH_LOG_INFO 2u
#define BERTH_LOG_WARN 3u
#define BERTH_LOG_ERROR 4u

/* How a call is made. Zeroes are a detached call without headers and deadline, once `deadline` is BERTH_FOREVER. */
typedef struct berth_call_options {
  uint32_t struct_size;
  uint32_t header_count;
  const berth_header *headers; /* replace inherited ones of the same key; an empty value removes it */
  const berth_call *parent;    /* NULL, or whose headers, deadline, cancellation and peer are inherited [12] */
  int64_t deadline;            /* CLOCK_MONOTONIC nanoseconds, or BERTH_FOREVER; the parent's, if earlier, holds */
} berth_call_options;

#define BERTH_READABLE 1u /* a message, or the end, can be received */
#define BERTH_WRITABLE 2u /* a message can be sent, or never again */
#define BERTH_INLINE 4u   /* run on the thread that made it ready [7] */

/* What the host offers. One table for ever. */
typedef struct berth_host {
  uint32_t struct_size;
  uint32_t abi_major;
  uint32_t abi_minor;
  uint32_t spare;

  /* -- this instance ------------------------------------------------------------------------------------------- */

  /* any-thread. Facts by name: "uri", "type", "id", "root" and "state" (this plugin's own directories, made 0700 on
   * request), "host-root", "host-state", "address", "ttrpc-address", "version". Empty when unknown. Lives for ever. */
  berth_str (*property)(berth_self *self, berth_str name);
  /* any-thread. This instance's configuration with the manifest's defaults filled in. An empty path gives the whole
   * as one JSON object; a dotted path ("a.b") a scalar as text, or JSON below it. Empty when absent. Lives for ever. */
  berth_str (*config)(berth_self *self, berth_str path);
  /* any-thread. One line. Fields are written after it as key=value. */
  void (*log)(berth_self *self, uint32_t level, berth_str text, const berth_header *fields, uint32_t field_count);
  /* init-thread. Why this probe, init or start is about to return other than 0. */
  void (*fail)(berth_self *self, const berth_status *why);
  /* any-thread. Memory aligned to 64 bytes, freed by `dealloc` on either side. NULL when there is none. */
  void *(*alloc)(uint64_t size);
  void (*dealloc)(void *memory);
  /* any-thread. Runs `run` on a host thread that may block. BERTH_REFUSED when none is to be had. */
  int32_t (*spawn)(berth_self *self, berth_callback run, void *context);
  /* any-thread. Tells the host that this instance can no longer serve: calls to it are refused from now on. */
  void (*unhealthy)(berth_self *self, berth_str why);

  /* -- other plugins ------------------------------------------------------------------------------------------- */

  /* init-thread (not in probe). How many plugins the requirement of that name is bound to. */
  uint32_t (*bound)(berth_self *self, berth_str requirement);
  /* init-thread (not in probe). The index-th of them, in order of URI; NULL when out of range. */
  berth_target *(*connect)(berth_self *self, berth_str requirement, uint32_t index);
  /* any-thread. "uri", "type", "id", "capabilities" (comma-separated). Lives for ever. */
  berth_str (*target_property)(berth_target *target, berth_str name);
  /* any-thread. "package.Service/Method" to a number for this target, BERTH_NO_METHOD when it does not serve it. */
  uint32_t (*resolve)(berth_target *target, berth_str method);

  /* -- the server end ------------------------------------------------------------------------------------------ */

  /* any-thread. Empty when absent. Valid until finish. */
  berth_str (*header)(const berth_call *call, berth_str key);
  /* any-thread. All headers; valid until finish. Returns their number. */
  uint32_t (*headers)(const berth_call *call, const berth_header **out);
  /* any-thread. CLOCK_MONOTONIC nanoseconds, or BERTH_FOREVER. */
  int64_t (*deadline)(const berth_call *call);
  /* any-thread. 1 once the call is cancelled or past its deadline. */
  int32_t (*cancelled)(const berth_call *call);
  /* any-thread. Runs `run` when that happens, at once if it has happened [8]; runs inline. NULL takes it back. */
  void (*on_cancel)(berth_call *call, berth_callback run, void *context);
  /* any-thread. */
  void (*peer)(const berth_call *call, berth_peer *out);
  /* any-thread. The request of a method without client stream, borrowed [1]. Its descriptors stay the host's. */
  berth_bytes (*request)(const berth_call *call);
  /* serial-per-side, may-block. OK, AGAIN, END (half-closed), CANCELLED. Methods with client stream only. */
  int32_t (*recv)(berth_call *call, int64_t timeout_ns, berth_message *out);
  /* serial-per-side, may-block, runs-others. OK, AGAIN, CANCELLED. */
  int32_t (*send)(berth_call *call, const berth_message *message, int64_t timeout_ns);
  /* any-thread, runs-others with BERTH_INLINE. One-shot, for BERTH_READABLE or BERTH_WRITABLE [7]. */
  void (*on_ready)(berth_call *call, uint32_t what, berth_callback run, void *context);
  /* any-thread, runs-others. status NULL: OK. response: of a method without server stream and with status OK [3]. Takes
   * the response whatever happens to the call. */
  void (*finish)(berth_call *call, const berth_status *status, const berth_message *response);
  /* any-thread, runs-others. Hands the rest of this call to `method` of `target`, as if it had been called there; headers
   * replace as in options. `request`: NULL for the same bytes, inside handle() only [1] [3]. BERTH_REFUSED, and the
   * call is still yours, when the method has another shape or the request is gone. */
  int32_t (*forward)(berth_call *call, berth_target *target, uint32_t method, const berth_message *request,
                     const berth_header *headers, uint32_t header_count);

  /* -- the client end ------------------------------------------------------------------------------------------ */

  /* any-thread, may-block, runs-others. A whole call without streams; waits for its end and cannot fail itself: a
   * refusal is the status. The request is borrowed. Release the end afterwards. */
  berth_client *(*unary)(berth_target *target, uint32_t method, const berth_call_options *options,
                         const berth_message *request);
  /* any-thread, runs-others. Begins any call. For a method without client stream, `send` the one request. */
  berth_client *(*open)(berth_target *target, uint32_t method, const berth_call_options *options);
  /* serial-per-side, may-block, runs-others. OK, AGAIN, CANCELLED (the call has ended). */
  int32_t (*client_send)(berth_client *client, const berth_message *message, int64_t timeout_ns);
  /* serial-per-side, runs-others. No more requests. */
  void (*client_half_close)(berth_client *client);
  /* serial-per-side, may-block. OK, AGAIN, END. After END the status is known. */
  int32_t (*client_recv)(berth_client *client, int64_t timeout_ns, berth_message *out);
  /* any-thread, runs-others with BERTH_INLINE. As on_ready. */
  void (*client_on_ready)(berth_client *client, uint32_t what, berth_callback run, void *context);
  /* any-thread, runs-others. */
  void (*client_cancel)(berth_client *client);
  /* any-thread. 1 and the status once the call has ended, borrowed until release [2]; else 0. */
  int32_t (*client_status)(const berth_client *client, berth_status *out);
  /* any-thread, runs-others. Cancels a call that has not ended, drops what was not received; the end is dead [8]. */
  void (*client_release)(berth_client *client);
} berth_host;

/* A service that a plugin serves. Method numbers in handle() are indices into `methods`. */
typedef struct berth_service {
  uint32_t struct_size;
  uint32_t method_count;
  berth_str name; /* "containerd.services.snapshots.v1.Snapshots" */
  const berth_method *methods;
  berth_bytes descriptors; /* a serialized google.protobuf.FileDescriptorSet for reflection, or empty; lives for ever */
} berth_service;

/* One plugin of a shared object. Where init can run more than once (manifest: multiple), each gives an instance. */
typedef struct berth_plugin {
  uint32_t struct_size;
  uint32_t service_count;
  berth_str type; /* as in the manifest */
  berth_str id;
  const berth_service *const *services;
  /* init-thread, may-block. May be NULL. 0: usable here. Else the status code, after host->fail(); FAILED_PRECONDITION,
   * UNIMPLEMENTED and NOT_FOUND mean "skip me, this machine lacks it", any other code is a failure. No calls yet. */
  int32_t (*probe)(const berth_host *host, berth_self *self);
  /* init-thread, may-block. Makes an instance from configuration and connected plugins, which are already ready to be
   * called. 0, or the status code after host->fail(). */
  int32_t (*init)(const berth_host *host, berth_self *self, void **instance);
  /* init-thread, may-block. May be NULL. Background work begins here. 0, or the status code after host->fail(). */
  int32_t (*start)(void *instance);
  /* any-thread. Serves method `method` of service `service` (indices). Ends with finish or forward [3], in here or later. */
  void (*handle)(void *instance, uint32_t service, uint32_t method, berth_call *call);
  /* init-thread, may-block. May be NULL. End background work; deadline in CLOCK_MONOTONIC nanoseconds [11]. */
  void (*stop)(void *instance, int64_t deadline);
} berth_plugin;

typedef struct berth_module {
  uint32_t struct_size;
  uint32_t abi_major;
  uint32_t abi_minor; /* the least minor of the host that will do */
  uint32_t plugin_count;
  const berth_plugin *const *plugins; /* one per [[plugin]] of the manifest, matched by type and id */
} berth_module;

/* The exported symbol. Returns a table that lives for ever, or NULL. No other code of the plugin has been called. */
typedef const berth_module *(*berth_entry_fn)(void);

#ifdef __cplusplus
}
#endif
#endif
