#include "@ident@.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *@ident@_greet(const char *greeting, const char *name, const char *ns) {
  const size_t size = strlen(greeting) + strlen(name) + strlen(ns) + sizeof ",  of ";
  char *text = malloc(size);
  if (text == NULL) return NULL;
  if (ns[0] == '\0') {
    (void)snprintf(text, size, "%s, %s", greeting, name);
  } else {
    (void)snprintf(text, size, "%s, %s of %s", greeting, name, ns);
  }
  return text;
}
