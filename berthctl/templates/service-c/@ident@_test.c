/* The logic alone, without a daemon. That the plugin as a whole behaves is tested by
 * `berthctl plugin validate` (`ctest -R plugin-`). */
#include "@ident@.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

static void expect_text(char *text, const char *wanted) {
  if (text == NULL || strcmp(text, wanted) != 0) {
    fprintf(stderr, "FAILED: \"%s\" and not \"%s\"\n", text == NULL ? "" : text, wanted);
    ++failures;
  }
  free(text);
}

int main(void) {
  expect_text(@ident@_greet("good day", "world", ""), "good day, world");
  expect_text(@ident@_greet("good day", "world", "k8s.io"), "good day, world of k8s.io");
  expect_text(@ident@_greet("", "", ""), ", ");
  return failures == 0 ? 0 : 1;
}
