#define _GNU_SOURCE
#include "events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "containerd/services/ttrpc/events/v1/events.pb-c.h"
#include "ttrpc.h"

#define LONGEST 2 /* seconds */

void event_tell(const char *ns, const char *topic, const ProtobufCMessage *event) {
  Containerd__Services__Events__Ttrpc__V1__ForwardRequest request = CONTAINERD__SERVICES__EVENTS__TTRPC__V1__FORWARD_REQUEST__INIT;
  Containerd__Types__Envelope envelope = CONTAINERD__TYPES__ENVELOPE__INIT;
  Google__Protobuf__Timestamp timestamp = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
  const char *path = getenv("TTRPC_ADDRESS");
  struct timespec now;
  struct failure why;
  if (path == NULL) return;
  if (strncmp(path, "unix://", 7) == 0) path += 7;
  (void)clock_gettime(CLOCK_REALTIME, &now);
  timestamp.seconds = now.tv_sec;
  timestamp.nanos = (int32_t)now.tv_nsec;
  any.type_url = (char *)event->descriptor->name;
  any.value = packed(event);
  envelope.timestamp = &timestamp;
  envelope.namespace_ = (char *)ns;
  envelope.topic = (char *)topic;
  envelope.event = &any;
  request.envelope = &envelope;
  if (ttrpc_tell(path, "containerd.services.events.ttrpc.v1.Events", "Forward", &request.base, LONGEST, &why) != 0) {
    fprintf(stderr, "event %s is lost: %s\n", topic, why.text);
  }
  free(any.value.data);
}
