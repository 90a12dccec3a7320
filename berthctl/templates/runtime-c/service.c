#define _GNU_SOURCE
#include "service.h"

#include <berth/c_helpers.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "containerd/events/task.pb-c.h"
#include "containerd/runtime/task/v2/shim.pb-c.h"
#include "events.h"
#include "memory.h"
#include "process.h"
#include "serve.h"
#include "ttrpc.h"

#define TASK(name) Containerd__Task__V2__##name
#define EVENT(name) Containerd__Events__##name
#define STATUS(name) CONTAINERD__V1__TYPES__STATUS__##name

struct waiter {
  struct caller caller;
  struct waiter *next;
};

/* The container's first process is the one with an empty name. */
struct task {
  char *exec;
  struct spec spec;
  struct process process;
  int made, started, paused, ended;
  uint32_t code;
  struct timespec ended_at;
  struct waiter *waiters;
  struct task *next;
};

struct service {
  const char *ns, *id;
  char *bundle;
  struct task *tasks;
  int over;
};

struct service *service_new(const char *ns, const char *id) {
  struct service *const out = zeroed(sizeof *out);
  out->ns = ns;
  out->id = id;
  return out;
}

int service_is_over(const struct service *service) { return service->over; }

static void tell(const struct service *service, const char *topic, const ProtobufCMessage *event) { event_tell(service->ns, topic, event); }

static Google__Protobuf__Timestamp timestamp(struct timespec time) {
  Google__Protobuf__Timestamp out = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  out.seconds = time.tv_sec;
  out.nanos = (int32_t)time.tv_nsec;
  return out;
}

static void answer(struct caller caller, const ProtobufCMessage *response) {
  if (ttrpc_answer(caller.fd, caller.stream, response, NULL) != 0) connection_broken(caller.fd);
}

/* -- tasks ------------------------------------------------------------------------------------------------------- */

static struct task *find(const struct service *service, const char *exec) {
  struct task *one = service->tasks;
  while (one != NULL && strcmp(one->exec, exec) != 0) one = one->next;
  return one;
}

static struct task *need(const struct service *service, const char *id, const char *exec, struct failure *why) {
  struct task *const one = strcmp(id, service->id) == 0 ? find(service, exec) : NULL;
  if (one == NULL) (void)fail(why, BERTH_CODE_NOT_FOUND, "process %.100s %.100s: not found", id, exec);
  return one;
}

static struct task *task_new(const char *exec, const char *in, const char *out, const char *err) {
  struct task *const one = zeroed(sizeof *one);
  one->exec = copied(exec);
  one->spec.in = copied(in);
  one->spec.out = copied(out);
  one->spec.err = copied(err);
  one->process = (struct process){0, -1, -1, -1};
  return one;
}

static void task_free(struct task *one) {
  process_clear(&one->process);
  spec_clear(&one->spec);
  free(one->exec);
  free(one);
}

static void add(struct service *service, struct task *one) {
  one->next = service->tasks;
  service->tasks = one;
}

static void answer_end(const struct task *task, struct caller caller) {
  TASK(WaitResponse) response = CONTAINERD__TASK__V2__WAIT_RESPONSE__INIT;
  Google__Protobuf__Timestamp at = timestamp(task->ended_at);
  response.exit_status = task->code;
  response.exited_at = &at;
  answer(caller, &response.base);
}

static void end(struct service *service, struct task *task, uint32_t code) {
  EVENT(TaskExit) event = CONTAINERD__EVENTS__TASK_EXIT__INIT;
  Google__Protobuf__Timestamp at;
  const int first = task->exec[0] == '\0';
  if (first) (void)kill(-task->process.pid, SIGKILL); /* what it leaves behind */
  task->ended = 1;
  task->code = code;
  (void)clock_gettime(CLOCK_REALTIME, &task->ended_at);
  at = timestamp(task->ended_at);
  event.container_id = (char *)service->id;
  event.id = first ? (char *)service->id : task->exec;
  event.pid = (uint32_t)task->process.pid;
  event.exit_status = code;
  event.exited_at = &at;
  tell(service, "/tasks/exit", &event.base);
  while (task->waiters != NULL) {
    struct waiter *const one = task->waiters;
    task->waiters = one->next;
    answer_end(task, one->caller);
    free(one);
  }
}

void service_ended(struct service *service, pid_t pid, uint32_t code) {
  struct task *one = service->tasks;
  while (one != NULL && (!one->made || one->ended || one->process.pid != pid)) one = one->next;
  if (one != NULL) end(service, one, code);
}

void service_forget(struct service *service, int fd) {
  struct task *task = service->tasks;
  for (; task != NULL; task = task->next) {
    struct waiter **at = &task->waiters;
    while (*at != NULL) {
      struct waiter *const one = *at;
      if (one->caller.fd == fd) {
        *at = one->next;
        free(one);
      } else {
        at = &one->next;
      }
    }
  }
}

/* -- the methods. Each answers and returns 0, or returns why it does not. ------------------------------------------ */

static int32_t create(struct service *service, const void *message, struct caller caller, struct failure *why) {
  const TASK(CreateTaskRequest) *const request = message;
  TASK(CreateTaskResponse) response = CONTAINERD__TASK__V2__CREATE_TASK_RESPONSE__INIT;
  EVENT(TaskCreate) event = CONTAINERD__EVENTS__TASK_CREATE__INIT;
  struct task *task = NULL;
  FILE *record = NULL;
  size_t i = 0;
  if (request->terminal) return fail(why, BERTH_CODE_UNIMPLEMENTED, "this runtime has no terminals");
  if (strcmp(request->id, service->id) != 0) return fail(why, BERTH_CODE_INVALID_ARGUMENT, "this shim is for container %s", service->id);
  if (find(service, "") != NULL) return fail(why, BERTH_CODE_ALREADY_EXISTS, "container %s: already exists", service->id);
  task = task_new("", request->stdin, request->stdout, request->stderr);
  /* The root file system first, then what is mounted into it. */
  for (i = 0; i < request->n_rootfs; ++i) {
    const Containerd__Types__Mount *const one = request->rootfs[i];
    spec_add_mount(&task->spec, one->type, one->source, "", one->options, one->n_options);
  }
  if (spec_read_bundle(request->bundle, &task->spec, why) != 0 || process_make(&task->spec, &task->process, why) != 0) {
    task_free(task);
    return why->code;
  }
  task->made = 1;
  add(service, task);
  free(service->bundle);
  service->bundle = copied(request->bundle);
  /* For "delete", should this shim be killed. */
  record = fopen("init.pid", "we");
  if (record != NULL) {
    (void)fprintf(record, "%d", (int)task->process.pid);
    (void)fclose(record);
  }
  event.container_id = (char *)service->id;
  event.bundle = service->bundle;
  event.pid = (uint32_t)task->process.pid;
  tell(service, "/tasks/create", &event.base);
  response.pid = event.pid;
  answer(caller, &response.base);
  return 0;
}

static void tell_start(const struct service *service, const struct task *task) {
  if (task->exec[0] == '\0') {
    EVENT(TaskStart) event = CONTAINERD__EVENTS__TASK_START__INIT;
    event.container_id = (char *)service->id;
    event.pid = (uint32_t)task->process.pid;
    tell(service, "/tasks/start", &event.base);
  } else {
    EVENT(TaskExecStarted) event = CONTAINERD__EVENTS__TASK_EXEC_STARTED__INIT;
    event.container_id = (char *)service->id;
    event.exec_id = task->exec;
    event.pid = (uint32_t)task->process.pid;
    tell(service, "/tasks/exec-started", &event.base);
  }
}

static int32_t start(struct service *service, const void *message, struct caller caller, struct failure *why) {
  const TASK(StartRequest) *const request = message;
  TASK(StartResponse) response = CONTAINERD__TASK__V2__START_RESPONSE__INIT;
  struct task *const task = need(service, request->id, request->exec_id, why);
  if (task == NULL) return why->code;
  if (task->started || task->ended) return fail(why, BERTH_CODE_FAILED_PRECONDITION, "process %.100s was started", request->exec_id);
  if (!task->made) {
    if (process_make(&task->spec, &task->process, why) != 0) return why->code;
    task->made = 1;
  }
  if (process_start(&task->process, why) != 0) {
    /* Its end is taken here: whoever hears of the failure may delete it. */
    end(service, task, 127);
    (void)waitpid(task->process.pid, NULL, 0);
    return why->code;
  }
  task->started = 1;
  tell_start(service, task);
  response.pid = (uint32_t)task->process.pid;
  answer(caller, &response.base);
  return 0;
}

static int32_t delete(struct service *service, const void *message, struct caller caller, struct failure *why) {
  const TASK(DeleteRequest) *const request = message;
  TASK(DeleteResponse) response = CONTAINERD__TASK__V2__DELETE_RESPONSE__INIT;
  struct task *const task = need(service, request->id, request->exec_id, why);
  struct task **at = &service->tasks;
  Google__Protobuf__Timestamp ended_at;
  if (task == NULL) return why->code;
  if (task->made && !task->ended) {
    return fail(why, BERTH_CODE_FAILED_PRECONDITION, "cannot delete a running process %.100s", request->exec_id);
  }
  ended_at = timestamp(task->ended_at);
  response.pid = (uint32_t)task->process.pid;
  response.exit_status = task->code;
  response.exited_at = &ended_at;
  while (*at != task) at = &(*at)->next;
  *at = task->next;
  task_free(task);
  if (request->exec_id[0] == '\0') {
    EVENT(TaskDelete) event = CONTAINERD__EVENTS__TASK_DELETE__INIT;
    event.container_id = (char *)service->id;
    event.pid = response.pid;
    event.exit_status = response.exit_status;
    event.exited_at = &ended_at;
    tell(service, "/tasks/delete", &event.base);
  }
  answer(caller, &response.base);
  return 0;
}

static int32_t exec(struct service *service, const void *message, struct caller caller, struct failure *why) {
  const TASK(ExecProcessRequest) *const request = message;
  EVENT(TaskExecAdded) event = CONTAINERD__EVENTS__TASK_EXEC_ADDED__INIT;
  const struct task *const first = need(service, request->id, "", why);
  struct task *task = NULL;
  if (first == NULL) return why->code;
  if (request->exec_id[0] == '\0') return fail(why, BERTH_CODE_INVALID_ARGUMENT, "an exec needs an id");
  if (request->spec == NULL) return fail(why, BERTH_CODE_INVALID_ARGUMENT, "an exec needs a specification");
  if (find(service, request->exec_id) != NULL) return fail(why, BERTH_CODE_ALREADY_EXISTS, "exec %.100s: already exists", request->exec_id);
  if (first->ended || !first->started) return fail(why, BERTH_CODE_FAILED_PRECONDITION, "container %s does not run", service->id);
  task = task_new(request->exec_id, request->stdin, request->stdout, request->stderr);
  if (spec_read_process((const char *)request->spec->value.data, request->spec->value.len, &task->spec, why) != 0) {
    task_free(task);
    return why->code;
  }
  task->spec.root = printed("/proc/%d/root", (int)first->process.pid);
  add(service, task);
  event.container_id = (char *)service->id;
  event.exec_id = task->exec;
  tell(service, "/tasks/exec-added", &event.base);
  answer(caller, NULL);
  return 0;
}

static int32_t state(struct service *service, const void *message, struct caller caller, struct failure *why) {
  const TASK(StateRequest) *const request = message;
  TASK(StateResponse) response = CONTAINERD__TASK__V2__STATE_RESPONSE__INIT;
  const struct task *const task = need(service, request->id, request->exec_id, why);
  Google__Protobuf__Timestamp ended_at;
  if (task == NULL) return why->code;
  ended_at = timestamp(task->ended_at);
  response.id = (char *)service->id;
  response.exec_id = task->exec;
  response.bundle = service->bundle;
  response.pid = (uint32_t)task->process.pid;
  response.status = task->ended ? STATUS(STOPPED) : task->paused ? STATUS(PAUSED) : task->started ? STATUS(RUNNING) : STATUS(CREATED);
  response.stdin = task->spec.in;
  response.stdout = task->spec.out;
  response.stderr = task->spec.err;
  response.exit_status = task->code;
  response.exited_at = &ended_at;
  answer(caller, &response.base);
  return 0;
}

static int32_t kill_task(struct service *service, const void *message, struct caller caller, struct failure *why) {
  const TASK(KillRequest) *const request = message;
  const struct task *const task = need(service, request->id, request->exec_id, why);
  if (task == NULL) return why->code;
  if (!task->made || task->ended) return fail(why, BERTH_CODE_NOT_FOUND, "process %.100s has ended: not found", request->exec_id);
  /* Each process leads a group; SIGKILL and "all" are for all of it. */
  const pid_t pid = request->all || request->signal == SIGKILL ? -task->process.pid : task->process.pid;
  if (kill(pid, (int)request->signal) != 0) return fail_errno(why, errno, "kill");
  answer(caller, NULL);
  return 0;
}

static int32_t set_paused(struct service *service, const char *id, int paused, struct caller caller, struct failure *why) {
  EVENT(TaskPaused) event = CONTAINERD__EVENTS__TASK_PAUSED__INIT;
  EVENT(TaskResumed) resumed = CONTAINERD__EVENTS__TASK_RESUMED__INIT;
  struct task *const task = need(service, id, "", why);
  if (task == NULL) return why->code;
  if (task->ended || !task->started || task->paused == paused) {
    return fail(why, BERTH_CODE_FAILED_PRECONDITION, "container %s is not in the state for it", service->id);
  }
  if (kill(-task->process.pid, paused ? SIGSTOP : SIGCONT) != 0) return fail_errno(why, errno, "pause or resume");
  task->paused = paused;
  event.container_id = resumed.container_id = (char *)service->id;
  tell(service, paused ? "/tasks/paused" : "/tasks/resumed", paused ? &event.base : &resumed.base);
  answer(caller, NULL);
  return 0;
}

static int32_t pause_task(struct service *service, const void *message, struct caller caller, struct failure *why) {
  return set_paused(service, ((const TASK(PauseRequest) *)message)->id, 1, caller, why);
}

static int32_t resume_task(struct service *service, const void *message, struct caller caller, struct failure *why) {
  return set_paused(service, ((const TASK(ResumeRequest) *)message)->id, 0, caller, why);
}

static int32_t wait_task(struct service *service, const void *message, struct caller caller, struct failure *why) {
  const TASK(WaitRequest) *const request = message;
  struct task *const task = need(service, request->id, request->exec_id, why);
  struct waiter *waiter = NULL;
  if (task == NULL) return why->code;
  if (task->ended) {
    answer_end(task, caller);
    return 0;
  }
  waiter = zeroed(sizeof *waiter);
  waiter->caller = caller;
  waiter->next = task->waiters;
  task->waiters = waiter;
  return 0;
}

static int32_t close_io(struct service *service, const void *message, struct caller caller, struct failure *why) {
  const TASK(CloseIORequest) *const request = message;
  struct task *const task = need(service, request->id, request->exec_id, why);
  if (task == NULL) return why->code;
  if (request->stdin) process_close_input(&task->process);
  answer(caller, NULL);
  return 0;
}

static int32_t pids(struct service *service, const void *message, struct caller caller, struct failure *why) {
  TASK(PidsResponse) response = CONTAINERD__TASK__V2__PIDS_RESPONSE__INIT;
  Containerd__V1__Types__ProcessInfo info = CONTAINERD__V1__TYPES__PROCESS_INFO__INIT;
  Containerd__V1__Types__ProcessInfo *infos[] = {&info};
  const struct task *const first = find(service, "");
  (void)message;
  (void)why;
  if (first != NULL) {
    info.pid = (uint32_t)first->process.pid;
    response.n_processes = 1;
    response.processes = infos;
  }
  answer(caller, &response.base);
  return 0;
}

static int32_t connect_task(struct service *service, const void *message, struct caller caller, struct failure *why) {
  TASK(ConnectResponse) response = CONTAINERD__TASK__V2__CONNECT_RESPONSE__INIT;
  const struct task *const first = find(service, "");
  (void)message;
  (void)why;
  response.shim_pid = (uint32_t)getpid();
  response.task_pid = first == NULL ? 0 : (uint32_t)first->process.pid;
  answer(caller, &response.base);
  return 0;
}

static int32_t shut_down(struct service *service, const void *message, struct caller caller, struct failure *why) {
  (void)message;
  (void)why;
  service->over = service->tasks == NULL; /* else: not yet */
  answer(caller, NULL);
  return 0;
}

#define REQUEST(name) &containerd__task__v2__##name##_request__descriptor

static const struct {
  const char *name;
  const ProtobufCMessageDescriptor *request;
  int32_t (*call)(struct service *service, const void *request, struct caller caller, struct failure *why);
} kMethods[] = {
    {"Create", REQUEST(create_task), create}, {"Start", REQUEST(start), start},
    {"Delete", REQUEST(delete), delete},      {"Exec", REQUEST(exec_process), exec},
    {"State", REQUEST(state), state},         {"Kill", REQUEST(kill), kill_task},
    {"Pause", REQUEST(pause), pause_task},    {"Resume", REQUEST(resume), resume_task},
    {"Wait", REQUEST(wait), wait_task},       {"CloseIO", &containerd__task__v2__close_iorequest__descriptor, close_io},
    {"Pids", REQUEST(pids), pids},            {"Connect", REQUEST(connect), connect_task},
    {"Shutdown", REQUEST(shutdown), shut_down},
};

static int32_t dispatch(struct service *service, const char *name, const char *method, ProtobufCBinaryData payload, struct caller caller,
                        struct failure *why) {
  ProtobufCMessage *request = NULL;
  size_t i = 0;
  int32_t code = 0;
  if (strcmp(name, "containerd.task.v2.Task") != 0 && strcmp(name, "containerd.task.v3.Task") != 0) {
    return fail(why, BERTH_CODE_UNIMPLEMENTED, "service %.200s is not served: not implemented", name);
  }
  while (i < sizeof kMethods / sizeof *kMethods && strcmp(kMethods[i].name, method) != 0) ++i;
  if (i == sizeof kMethods / sizeof *kMethods) {
    return fail(why, BERTH_CODE_UNIMPLEMENTED, "method %.200s is not served: not implemented", method);
  }
  request = protobuf_c_message_unpack(kMethods[i].request, NULL, payload.len, payload.data);
  if (request == NULL) return fail(why, BERTH_CODE_INVALID_ARGUMENT, "the request is no %s", kMethods[i].request->name);
  code = kMethods[i].call(service, request, caller, why);
  protobuf_c_message_free_unpacked(request, NULL);
  return code;
}

void service_call(struct service *service, const char *name, const char *method, ProtobufCBinaryData payload, struct caller caller) {
  struct failure why = {0, ""};
  if (dispatch(service, name, method, payload, caller, &why) == 0) return;
  if (ttrpc_answer(caller.fd, caller.stream, NULL, &why) != 0) connection_broken(caller.fd);
}
