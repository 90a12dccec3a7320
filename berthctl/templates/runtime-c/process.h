/* One process in a root file system: made, held, let run. Its end is told by SIGCHLD. */
#ifndef PROCESS_H
#define PROCESS_H

#include "spec.h"

struct process {
  pid_t pid;
  int go;      /* a byte lets it run */
  int outcome; /* why it did not, as errno; closed when it does */
  int input;   /* the other end of its input: who holds it keeps it from reading the end */
};

/* A child of this program, held until process_start(). */
int32_t process_make(const struct spec *spec, struct process *out, struct failure *why);
/* NOT_FOUND and the like when the program cannot be executed; it has ended then. */
int32_t process_start(struct process *process, struct failure *why);
void process_close_input(struct process *process);
/* Closes all; a process that is held ends. */
void process_clear(struct process *process);

#endif
