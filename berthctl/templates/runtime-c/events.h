/* What the daemon is told. */
#ifndef EVENTS_H
#define EVENTS_H

#include <protobuf-c/protobuf-c.h>

/* Waits until the daemon has taken it, two seconds at most; what cannot be told is lost. A shim that must not lose any keeps them and
 * tries again. */
void event_tell(const char *ns, const char *topic, const ProtobufCMessage *event);

#endif
