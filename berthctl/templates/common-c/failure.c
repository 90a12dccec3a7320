#include "failure.h"

#include <berth/c_helpers.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

int32_t fail(struct failure *why, int32_t code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(why->text, sizeof why->text, format, arguments);
  va_end(arguments);
  make_text(why->text); /* names in it may be cut, or never were text */
  why->code = code;
  return code;
}

static int32_t code_of(int error) {
  switch (error) {
    case ENOENT:
      return BERTH_CODE_NOT_FOUND;
    case EEXIST:
      return BERTH_CODE_ALREADY_EXISTS;
    case EACCES:
    case EPERM:
      return BERTH_CODE_PERMISSION_DENIED;
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return BERTH_CODE_RESOURCE_EXHAUSTED;
    case EOPNOTSUPP:
    case ENOSYS:
      return BERTH_CODE_UNIMPLEMENTED;
    default:
      return BERTH_CODE_INTERNAL;
  }
}

int32_t fail_errno(struct failure *why, int error, const char *what) {
  return fail(why, code_of(error), "%s: %s", what, strerror(error));
}
