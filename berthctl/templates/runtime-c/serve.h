/* The one thread of the shim: waits for calls, for ends of processes, and for its own end. */
#ifndef SERVE_H
#define SERVE_H

#include "service.h"

/* Takes the listening socket; returns 0 when the service is over or SIGTERM comes, -1 and errno when it cannot go on. */
int serve(int listening, struct service *service);

/* Nothing more is to be had from or sent to a client: it is forgotten soon. */
void connection_broken(int fd);

#endif
