/* Specifications alone, which come from others. That the shim does all that one must is tested by the conformance kit
 * (`ctest -R shim-`). */
#include "spec.h"

#include <berth/c_helpers.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "json.h"

static int failures = 0;

static void expect(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "FAILED: %s\n", what);
  ++failures;
}

static int32_t read_text(const char *text, struct spec *out) {
  struct failure why = {0, ""};
  memset(out, 0, sizeof *out);
  return spec_read_process(text, strlen(text), out, &why);
}

int main(void) {
  static const char *const malformed[] = {"", "{", "[1,]", "{\"a\":1,}", "{\"a\" 1}", "\"a", "\"\\x\"", "\"\\ud800\"", "\"\\u0000\"", "01",
                                          "1.", "-", "nul", "1 2", "[[", "\"\n\"", "{1:2}", "]"};
  char *const options[] = {"ro", "nosuid", "size=1m", "mode=755"};
  struct failure why = {0, ""};
  struct spec spec;
  struct json *value = NULL;
  char deep[200];
  size_t i = 0;
  expect(read_text("{\"args\": [\"sh\", \"-c\", \"a \\\"b\\\"\\n\\u00e4\\ud83d\\ude00\"], \"env\": [\"A=1\"], \"user\": {\"uid\": 7, \"gid\": 4294967294},"
                   " \"cwd\": \"/tmp\", \"more\": [1.5e3, null, true, {}, []]}",
                   &spec) == 0, "a process is read");
  expect(spec.args != NULL && strcmp(spec.args[2], "a \"b\"\n\xc3\xa4\xf0\x9f\x98\x80") == 0 && spec.args[3] == NULL, "its args are as written");
  expect(spec.uid == 7 && spec.gid == 4294967294U && strcmp(spec.cwd, "/tmp") == 0, "its user and its folder are as written");
  spec_add_mount(&spec, "tmpfs", "tmpfs", "/dev", options, 4);
  expect(spec.mounts[0].flags == (MS_RDONLY | MS_NOSUID) && strcmp(spec.mounts[0].data, "size=1m,mode=755") == 0,
         "options are flags, or data for the file system");
  spec_clear(&spec);
  expect(read_text("{\"args\": []}", &spec) == BERTH_CODE_INVALID_ARGUMENT, "no args are refused");
  spec_clear(&spec);
  expect(read_text("{\"args\": [1]}", &spec) == BERTH_CODE_INVALID_ARGUMENT, "args that are no text are refused");
  spec_clear(&spec);
  expect(read_text("{\"args\": [\"a\"], \"user\": {\"uid\": -1}}", &spec) == BERTH_CODE_INVALID_ARGUMENT, "users that are none are refused");
  spec_clear(&spec);
  expect(read_text("{\"args\": [\"a\"], \"terminal\": true}", &spec) == BERTH_CODE_UNIMPLEMENTED, "terminals are refused");
  spec_clear(&spec);
  for (i = 0; i < sizeof malformed / sizeof *malformed; ++i) {
    value = json_parse(malformed[i], strlen(malformed[i]), &why);
    expect(value == NULL && why.code == BERTH_CODE_INVALID_ARGUMENT, malformed[i]);
    json_free(value);
  }
  memset(deep, '[', 100);
  memset(deep + 100, ']', 100);
  value = json_parse(deep, sizeof deep, &why);
  expect(value == NULL, "what is nested too deeply is refused");
  json_free(value);
  value = json_parse(deep + 50, 100, &why);
  expect(value != NULL, "what is nested less is read");
  json_free(value);
  if (failures == 0) puts("specifications are read");
  return failures == 0 ? 0 : 1;
}
