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

#define BERTH_ABI_MAJOR 0u  /* what differs in it does not load; it is in the entry symbol */
#define BERTH_ABI_MINOR 1u  /* rises when something is added; a host of a later one loads plugins of an earlier one */
#define BERTH_ENTRY_SYMBOL "berth_plugin_entry_v0"  /* of type berth_entry_fn; the one symbol that a plugin exports */

/* Whether the other side's table, as long as its struct_size says, has a member. To be asked before a member that came
 * with a later minor than the reader demands is read. */
#define BERTH_HAS(table, member) \
  ((table)->struct_size >= offsetof(__typeof__(*(table)), member) + sizeof((table)->member))

/* Outcomes of the slots that move messages. */
#define BERTH_OK 0        /* done */
#define BERTH_AGAIN 1     /* nothing was taken or given in the time allowed [7] */
#define BERTH_END 2       /* the other side will send no more; on the client side ask for the status */
#define BERTH_CANCELLED 3 /* the call was cancelled, timed out, or is finished */
#define BERTH_REFUSED 4   /* wrong use, or no such thing; nothing was taken */

#define BERTH_FOREVER INT64_MAX    /* as a timeout or a deadline: none */
#define BERTH_MESSAGE_CHARGE 256u  /* bytes added to each message by flow control [9] */
#define BERTH_NO_METHOD UINT32_MAX /* in place of the number of a method: it is not served */

/* Borrowed text. How long, says whoever hands it out; what is given to a slot is borrowed until that returns. */
typedef struct berth_str {
  const char *data; /* UTF-8; may be NULL when size is 0 */
  uint32_t size; /* bytes */
  uint32_t spare;
} berth_str;

/* Message bytes. release == NULL: borrowed for the call it is given in. Else whoever holds the struct last calls
 * release(owner) once [15]. */
typedef struct berth_bytes {
  const void *data; /* may be NULL when size is 0 */
  uint64_t size;    /* bytes */
  /* any-thread [15]. Gives the bytes back; once, and data is dead then. Cannot fail. */
  void (*release)(void *owner);
  void *owner; /* what `release` is called with; nobody else's business */
  uint64_t spare;
} berth_bytes;

/* One message. Given to the host: when body.release is set, body and descriptors move on BERTH_OK, else the body is
 * copied as far as it must outlive the slot. Received from the host: yours to release and close. */
typedef struct berth_message {
  berth_bytes body;   /* the serialized message, nothing around it */
  const int32_t *fds; /* [14]; the array itself is borrowed, on receipt until body.release */
  uint32_t fd_count;  /* 0: fds may be NULL */
  uint32_t spare;
} berth_message;

/* One header of a call, or one field of a log line. Borrowed, as the texts in it. */
typedef struct berth_header {
  berth_str key;   /* lower case */
  berth_str value; /* in options and forward, empty takes the header away */
  uint64_t spare;
} berth_header;

/* How a call or a step of the lifecycle ended. Given to a slot: borrowed and copied by it. */
typedef struct berth_status {
  int32_t code; /* a canonical gRPC code, 0 = OK … 16 */
  uint32_t spare;
  berth_str message; /* for people: what was attempted, on what, why it failed */
  berth_str details; /* a serialized google.rpc.Status, or empty */
} berth_status;

#define BERTH_METHOD_CLIENT_STREAM 1u /* any number of requests */
#define BERTH_METHOD_SERVER_STREAM 2u /* any number of responses */
#define BERTH_METHOD_NO_BLOCK 4u      /* handle() returns in microseconds and may run on an event thread */

/* One method of a service. */
typedef struct berth_method {
  berth_str name; /* without its service: "Prepare" */
  uint32_t flags; /* BERTH_METHOD_*, together */
  uint32_t spare;
} berth_method;

typedef struct berth_call berth_call;     /* the server end of a call; yours from handle() until finish or forward [3] */
typedef struct berth_client berth_client; /* the client end of a call; yours from unary or open until client_release [2] */
typedef struct berth_target berth_target; /* a plugin that one is connected to; lives for ever */
typedef struct berth_self berth_self;     /* this instance, as the host knows it; lives for ever */

/* What the host runs for a plugin, with the context that was given with it. Throws nothing; which thread it runs on and
 * whether it may block, says the slot that takes it. `context` is the plugin's and has to live until it has run or the
 * end that it was set on is dead [8]. */
typedef void (*berth_callback)(void *context);

/* Who called, as the kernel told it when the connection was accepted. */
typedef struct berth_peer {
  uint32_t struct_size; /* set by the caller to what it knows */
  uint32_t known;       /* 0: the other members say nothing (a call that began inside the daemon) */
  int32_t pid;          /* as the host's namespace has it; the process may have ended since */
  uint32_t uid;         /* effective user */
  uint32_t gid;         /* effective group */
} berth_peer;

#define BERTH_LOG_TRACE 0u /* each step, for who debugs the plugin */
#define BERTH_LOG_DEBUG 1u /* what is done and why */
#define BERTH_LOG_INFO 2u  /* what an operator wants to know of a healthy plugin */
#define BERTH_LOG_WARN 3u  /* it goes on, but somebody should look */
#define BERTH_LOG_ERROR 4u /* something was not done */

/* How a call is made. Zeroes are a detached call without headers and deadline, once `deadline` is BERTH_FOREVER. */
typedef struct berth_call_options {
  uint32_t struct_size;
  uint32_t header_count;       /* 0: headers may be NULL */
  const berth_header *headers; /* replace inherited ones of the same key; an empty value removes it */
  const berth_call *parent;    /* NULL, or whose headers, deadline, cancellation and peer are inherited [12] */
  int64_t deadline;            /* CLOCK_MONOTONIC nanoseconds, or BERTH_FOREVER; the parent's, if earlier, holds */
} berth_call_options;

#define BERTH_READABLE 1u /* a message, or the end, can be received */
#define BERTH_WRITABLE 2u /* a message can be sent, or never again */
#define BERTH_INLINE 4u   /* run on the thread that made it ready [7] */

/* What the host offers. One table for ever, the same for all plugins. A handle given to a slot is one that is alive; a
 * pointer given is not NULL unless the slot says that it may be. */
typedef struct berth_host {
  uint32_t struct_size;
  uint32_t abi_major; /* BERTH_ABI_MAJOR of the host, the same as the plugin's */
  uint32_t abi_minor; /* BERTH_ABI_MINOR of the host, no less than the plugin demands */
  uint32_t spare;

  /* -- this instance ------------------------------------------------------------------------------------------- */

  /* any-thread. Facts by name: "uri", "type", "id", "root" and "state" (this plugin's own directories, made 0700 on
   * request), "host-root", "host-state", "address", "ttrpc-address", "version". Empty when unknown. Lives for ever. */
  berth_str (*property)(berth_self *self, berth_str name);
  /* any-thread. This instance's configuration with the manifest's defaults filled in. An empty path gives the whole
   * as one JSON object; a dotted path ("a.b") a scalar as text, or JSON below it. Empty when absent. Lives for ever. */
  berth_str (*config)(berth_self *self, berth_str path);
  /* any-thread. One line, at a BERTH_LOG_* level. Fields, which may be NULL when there are none, are written after it as
   * key=value. Everything is copied; it cannot fail. */
  void (*log)(berth_self *self, uint32_t level, berth_str text, const berth_header *fields, uint32_t field_count);
  /* init-thread. Why this probe, init or start is about to return other than 0. Copied; the last one holds. */
  void (*fail)(berth_self *self, const berth_status *why);
  /* any-thread. Memory aligned to 64 bytes, freed by `dealloc` on either side. NULL when there is none. */
  void *(*alloc)(uint64_t size);
  /* any-thread. Frees what alloc gave, whoever took it; NULL is nothing. Fits berth_bytes.release. */
  void (*dealloc)(void *memory);
  /* any-thread. Runs `run` once on a host thread that may block: BERTH_OK. BERTH_REFUSED when none is to be had; it is not
   * run then, and the context is still the caller's. Nobody waits for it at the end: `stop` has to. */
  int32_t (*spawn)(berth_self *self, berth_callback run, void *context);
  /* any-thread. Tells the host that this instance can no longer serve: calls to it are refused from now on, with `why`,
   * which is copied. Calls in flight go on. There is no way back but a restart. */
  void (*unhealthy)(berth_self *self, berth_str why);

  /* -- other plugins ------------------------------------------------------------------------------------------- */

  /* init-thread (not in probe). How many plugins the requirement of that name is bound to; 0 for a name that the manifest
   * does not have. */
  uint32_t (*bound)(berth_self *self, berth_str requirement);
  /* init-thread (not in probe). The index-th of them, in order of URI; NULL when out of range. Lives for ever, and may be
   * used from any thread. */
  berth_target *(*connect)(berth_self *self, berth_str requirement, uint32_t index);
  /* any-thread. "uri", "type", "id", "capabilities" (comma-separated); empty for others. Lives for ever. */
  berth_str (*target_property)(berth_target *target, berth_str name);
  /* any-thread. "package.Service/Method" to a number for this target, the same for ever, or BERTH_NO_METHOD when it does
   * not serve it. */
  uint32_t (*resolve)(berth_target *target, berth_str method);

  /* -- the server end ------------------------------------------------------------------------------------------ */

  /* any-thread. The value of a header, by its key in lower case; empty when absent. Valid until finish. */
  berth_str (*header)(const berth_call *call, berth_str key);
  /* any-thread. All headers; valid until finish. Returns their number, 0 or more. */
  uint32_t (*headers)(const berth_call *call, const berth_header **out);
  /* any-thread. When the host ends the call: CLOCK_MONOTONIC nanoseconds, or BERTH_FOREVER. */
  int64_t (*deadline)(const berth_call *call);
  /* any-thread. 1 once the call is cancelled or past its deadline. */
  int32_t (*cancelled)(const berth_call *call);
  /* any-thread. Runs `run` when that happens, at once if it has happened [8]; runs inline. NULL takes it back, and waits
   * for one that is running on another thread. A second one replaces the first. */
  void (*on_cancel)(berth_call *call, berth_callback run, void *context);
  /* any-thread. Fills in what the host knows of the caller, as far as out->struct_size reaches; what lies beyond the host's
   * own struct stays as it was, so it is zeroed first. */
  void (*peer)(const berth_call *call, berth_peer *out);
  /* any-thread. The request of a method without client stream, borrowed until handle() returns [1]. Its descriptors stay
   * the host's. */
  berth_bytes (*request)(const berth_call *call);
  /* serial-per-side, may-block. The next request of a method with client stream: OK and *out, which is the caller's to
   * release; else AGAIN, END (half-closed) or CANCELLED, and *out is untouched. */
  int32_t (*recv)(berth_call *call, int64_t timeout_ns, berth_message *out);
  /* serial-per-side, may-block, runs-others. One response of a method with server stream. OK, and the message has moved;
   * else it is still the caller's: AGAIN (no room in time [9]), CANCELLED, REFUSED (a method without server stream). */
  int32_t (*send)(berth_call *call, const berth_message *message, int64_t timeout_ns);
  /* any-thread, runs-others with BERTH_INLINE. Runs `run` once, for BERTH_READABLE or BERTH_WRITABLE [7], at once if it is
   * so already. One per direction: a second one replaces the first. Never after finish [8]. */
  void (*on_ready)(berth_call *call, uint32_t what, berth_callback run, void *context);
  /* any-thread, runs-others. Ends the call [3]. status NULL: OK; else copied. response: NULL, or of a method without server
   * stream and with status OK. Takes the response whatever happens to the call, and cannot fail. */
  void (*finish)(berth_call *call, const berth_status *status, const berth_message *response);
  /* any-thread, runs-others. Hands the rest of this call to `method` of `target`, as if it had been called there; headers
   * replace as in options. `request`: NULL for the same bytes, inside handle() only [1] [3]. BERTH_REFUSED, and the
   * call is still yours, when the method has another shape or the request is gone. */
  int32_t (*forward)(berth_call *call, berth_target *target, uint32_t method, const berth_message *request,
                     const berth_header *headers, uint32_t header_count);

  /* -- the client end ------------------------------------------------------------------------------------------ */

  /* any-thread, may-block, runs-others. A whole call without streams; waits for its end and cannot fail itself: a
   * refusal is the status. The request is borrowed until it returns. Never NULL; release the end afterwards. */
  berth_client *(*unary)(berth_target *target, uint32_t method, const berth_call_options *options,
                         const berth_message *request);
  /* any-thread, runs-others. Begins any call. For a method without client stream, `send` the one request. Never NULL, and
   * to be released: a call that is refused has ended already. */
  berth_client *(*open)(berth_target *target, uint32_t method, const berth_call_options *options);
  /* serial-per-side, may-block, runs-others. One request. OK, and the message has moved; else it is still the caller's:
   * AGAIN (no room in time [9]), CANCELLED (the call has ended), REFUSED (a second one without client stream). */
  int32_t (*client_send)(berth_client *client, const berth_message *message, int64_t timeout_ns);
  /* serial-per-side, runs-others. No more requests. Again, or after the end, it is nothing. */
  void (*client_half_close)(berth_client *client);
  /* serial-per-side, may-block. The next response: OK and *out, which is the caller's to release; else AGAIN or END, and
   * *out is untouched. After END the status is known. */
  int32_t (*client_recv)(berth_client *client, int64_t timeout_ns, berth_message *out);
  /* any-thread, runs-others with BERTH_INLINE. As on_ready; never after client_release [8]. */
  void (*client_on_ready)(berth_client *client, uint32_t what, berth_callback run, void *context);
  /* any-thread, runs-others. Ends the call as CANCELLED and drops what is under way; one that has ended stays as it is.
   * The end is still to be released. */
  void (*client_cancel)(berth_client *client);
  /* any-thread. 1 and the status once the call has ended, borrowed until release [2]; else 0. */
  int32_t (*client_status)(const berth_client *client, berth_status *out);
  /* any-thread, runs-others. Cancels a call that has not ended, drops what was not received; the end is dead [8]. */
  void (*client_release)(berth_client *client);
} berth_host;

/* A service that a plugin serves. Method numbers in handle() are indices into `methods`. */
typedef struct berth_service {
  uint32_t struct_size;
  uint32_t method_count;       /* of `methods` */
  berth_str name;              /* "containerd.services.snapshots.v1.Snapshots" */
  const berth_method *methods; /* lives for ever, as the texts in it */
  berth_bytes descriptors; /* a serialized google.protobuf.FileDescriptorSet for reflection, or empty; lives for ever */
} berth_service;

/* One plugin of a shared object, as its entry tells it; lives for ever. Where init can run more than once (manifest:
 * multiple), each gives an instance. */
typedef struct berth_plugin {
  uint32_t struct_size;
  uint32_t service_count;               /* of `services` */
  berth_str type;                       /* as in the manifest */
  berth_str id;                         /* as in the manifest */
  const berth_service *const *services; /* what the manifest says it provides, in any order; lives for ever */
  /* init-thread, may-block. May be NULL. 0: usable here. Else the status code, after host->fail(); FAILED_PRECONDITION,
   * UNIMPLEMENTED and NOT_FOUND mean "skip me, this machine lacks it", any other code is a failure. No calls yet. */
  int32_t (*probe)(const berth_host *host, berth_self *self);
  /* init-thread, may-block. Makes an instance from configuration and connected plugins, which are already ready to be
   * called. 0, or the status code after host->fail(). */
  int32_t (*init)(const berth_host *host, berth_self *self, void **instance);
  /* init-thread, may-block. May be NULL. Background work begins here. 0, or the status code after host->fail(). */
  int32_t (*start)(void *instance);
  /* any-thread [10]. Serves method `method` of service `service` (indices). Ends with finish or forward [3], in
   * here or later. With BERTH_METHOD_NO_BLOCK it does not block. */
  void (*handle)(void *instance, uint32_t service, uint32_t method, berth_call *call);
  /* init-thread, may-block. May be NULL. End background work; deadline in CLOCK_MONOTONIC nanoseconds [11]. Called once, and
   * only after init was 0; the instance is never asked for anything else afterwards. */
  void (*stop)(void *instance, int64_t deadline);
} berth_plugin;

/* What the entry symbol gives: all plugins of a shared object. Lives for ever. */
typedef struct berth_module {
  uint32_t struct_size;
  uint32_t abi_major;    /* BERTH_ABI_MAJOR of the header that it was built with */
  uint32_t abi_minor;    /* the least minor of the host that will do; the manifest says the same */
  uint32_t plugin_count; /* of `plugins` */
  const berth_plugin *const *plugins; /* one per [[plugin]] of the manifest, matched by type and id */
} berth_module;

/* The exported symbol. Returns a table that lives for ever, or NULL. No other code of the plugin has been called. */
typedef const berth_module *(*berth_entry_fn)(void);

#ifdef __cplusplus
}
#endif
#endif
