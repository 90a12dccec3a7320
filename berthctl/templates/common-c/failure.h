/* Why something cannot be done: a canonical code for programs, a line for people. */
#ifndef FAILURE_H
#define FAILURE_H

#include <stdint.h>

struct failure {
  int32_t code; /* of enum berth_code; 0 is success */
  char text[512];
};

/* Sets both and returns the code, for `return fail(why, BERTH_CODE_NOT_FOUND, "snapshot %s: not found", key)`. */
int32_t fail(struct failure *why, int32_t code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* What the system says, with the code that fits: "WHAT: No space left on device". */
int32_t fail_errno(struct failure *why, int error, const char *what);

#endif
