/* The task service of one container: what a daemon asks over ttrpc. Versions 2 and 3 of it have the same messages. One thread. */
#ifndef SERVICE_H
#define SERVICE_H

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>
#include <sys/types.h>

/* Whom to answer. */
struct caller {
  int fd;
  uint32_t stream;
};

struct service;

/* For a container in a namespace; all of it borrowed. */
struct service *service_new(const char *ns, const char *id);
/* Answers at once, or, for Wait, when the process has ended. */
void service_call(struct service *service, const char *name, const char *method, ProtobufCBinaryData payload, struct caller caller);
/* A child has ended and is not waited for yet: its code, or 128 and the signal. */
void service_ended(struct service *service, pid_t pid, uint32_t code);
/* Nobody is there any more to be answered; before it is closed. */
void service_forget(struct service *service, int fd);
/* It was asked to go and holds nothing. */
int service_is_over(const struct service *service);

#endif
