#include "spec.h"

#include <berth/c_helpers.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "json.h"
#include "memory.h"

#define LARGEST (16 << 20)

static const struct {
  const char *option;
  unsigned long flag;
} kFlags[] = {{"bind", MS_BIND},     {"rbind", MS_BIND | MS_REC}, {"ro", MS_RDONLY},
              {"nosuid", MS_NOSUID}, {"nodev", MS_NODEV},         {"noexec", MS_NOEXEC},
              {"noatime", MS_NOATIME}, {"relatime", MS_RELATIME}, {"strictatime", MS_STRICTATIME},
              {"rw", 0},             {"private", 0},              {"rprivate", 0},
              {"slave", 0},          {"rslave", 0}};

static void replace(char **text, const char *by) {
  free(*text);
  *text = copied(by);
}

/* An option is a flag, or data for the file system. */
static void add_option(struct mount_point *mount, const char *option) {
  size_t i = 0;
  char *data = NULL;
  for (i = 0; i < sizeof kFlags / sizeof *kFlags; ++i) {
    if (strcmp(option, kFlags[i].option) == 0) {
      mount->flags |= kFlags[i].flag;
      return;
    }
  }
  data = printed("%s%s%s", mount->data, mount->data[0] == '\0' ? "" : ",", option);
  free(mount->data);
  mount->data = data;
}

void spec_add_mount(struct spec *spec, const char *type, const char *source, const char *target, char *const *options, size_t count) {
  struct mount_point *one = NULL;
  size_t i = 0;
  spec->mounts = resized(spec->mounts, spec->mount_count + 1, sizeof *spec->mounts);
  one = &spec->mounts[spec->mount_count++];
  one->type = copied(type);
  one->source = copied(source);
  one->target = copied(target);
  one->flags = 0;
  one->data = copied("");
  for (i = 0; i < count; ++i) add_option(one, options[i]);
}

/* Texts of an array, borrowed, NULL at their end; NULL: something else is in it. Free the array alone. */
static char **texts(const struct json *array) {
  char **const out = zeroed((json_count(array) + 1) * sizeof *out);
  const struct json *one = json_count(array) == 0 ? NULL : array->first;
  size_t i = 0;
  for (; one != NULL; one = one->next, ++i) {
    out[i] = one->text;
    if (one->kind != JSON_TEXT) {
      free(out);
      return NULL;
    }
  }
  return out;
}

static char **copies(const struct json *array) {
  char **const out = texts(array);
  size_t i = 0;
  for (i = 0; out != NULL && out[i] != NULL; ++i) out[i] = copied(out[i]);
  return out;
}

/* A user or a group; -1: it cannot be one. */
static int64_t read_id(const struct json *value) {
  const double number = json_number(value, 0);
  return number >= 0 && number < 4294967295.0 ? (int64_t)number : -1;
}

static int32_t read_process(const struct json *process, struct spec *out, struct failure *why) {
  const struct json *const user = json_get(process, "user");
  out->args = copies(json_get(process, "args"));
  out->env = copies(json_get(process, "env"));
  if (out->args == NULL || out->env == NULL) return fail(why, BERTH_CODE_INVALID_ARGUMENT, "args or env of the process are not all text");
  if (out->args[0] == NULL) return fail(why, BERTH_CODE_INVALID_ARGUMENT, "the process has no args");
  replace(&out->cwd, json_text(json_get(process, "cwd"), "/"));
  if (read_id(json_get(user, "uid")) < 0 || read_id(json_get(user, "gid")) < 0) {
    return fail(why, BERTH_CODE_INVALID_ARGUMENT, "uid or gid of the process is out of range");
  }
  out->uid = (uid_t)read_id(json_get(user, "uid"));
  out->gid = (gid_t)read_id(json_get(user, "gid"));
  if (json_get(process, "terminal") != NULL && json_get(process, "terminal")->kind == JSON_TRUE) {
    return fail(why, BERTH_CODE_UNIMPLEMENTED, "this runtime has no terminals");
  }
  return 0;
}

int32_t spec_read_process(const char *json, size_t size, struct spec *out, struct failure *why) {
  struct json *const process = json_parse(json, size, why);
  if (process == NULL) return why->code;
  const int32_t code = read_process(process, out, why);
  json_free(process);
  return code;
}

static int32_t read_spec(const struct json *spec, const char *bundle, struct spec *out, struct failure *why) {
  const char *const root = json_text(json_get(json_get(spec, "root"), "path"), "");
  const struct json *const mounts = json_get(spec, "mounts");
  const struct json *one = json_count(mounts) == 0 ? NULL : mounts->first;
  if (read_process(json_get(spec, "process"), out, why) != 0) return why->code;
  if (root[0] == '\0') return fail(why, BERTH_CODE_INVALID_ARGUMENT, "root has no path");
  free(out->root);
  out->root = root[0] == '/' ? copied(root) : printed("%s/%s", bundle, root);
  for (; one != NULL; one = one->next) {
    const char *const type = json_text(json_get(one, "type"), "");
    const char *const target = json_text(json_get(one, "destination"), "");
    char **const options = texts(json_get(one, "options"));
    size_t count = 0;
    if (options == NULL || target[0] == '\0') {
      free(options);
      return fail(why, BERTH_CODE_INVALID_ARGUMENT, "a mount has no destination, or options that are not text");
    }
    while (options[count] != NULL) ++count;
    if (strcmp(type, "cgroup") != 0) spec_add_mount(out, type, json_text(json_get(one, "source"), ""), target, options, count);
    free(options);
  }
  return 0;
}

int32_t spec_read_bundle(const char *bundle, struct spec *out, struct failure *why) {
  char *const path = printed("%s/config.json", bundle);
  FILE *const file = fopen(path, "re");
  char *bytes = NULL;
  size_t size = 0, count = 0;
  struct json *spec = NULL;
  int32_t code = 0;
  if (file == NULL) {
    code = fail_errno(why, errno, path);
    free(path);
    return code;
  }
  do {
    bytes = resized(bytes, size + 65536, 1);
    count = fread(bytes + size, 1, 65536, file);
    size += count;
  } while (count > 0 && size < LARGEST);
  (void)fclose(file);
  spec = json_parse(bytes, size, why);
  code = spec == NULL ? why->code : read_spec(spec, bundle, out, why);
  if (code != 0) {
    const struct failure reason = *why;
    (void)fail(why, code, "read %.300s: %.180s", path, reason.text);
  }
  json_free(spec);
  free(bytes);
  free(path);
  return code;
}

static void free_texts(char **array) {
  size_t i = 0;
  for (i = 0; array != NULL && array[i] != NULL; ++i) free(array[i]);
  free(array);
}

void spec_clear(struct spec *spec) {
  size_t i = 0;
  free_texts(spec->args);
  free_texts(spec->env);
  for (i = 0; i < spec->mount_count; ++i) {
    free(spec->mounts[i].type);
    free(spec->mounts[i].source);
    free(spec->mounts[i].target);
    free(spec->mounts[i].data);
  }
  free(spec->mounts);
  free(spec->cwd);
  free(spec->root);
  free(spec->in);
  free(spec->out);
  free(spec->err);
  memset(spec, 0, sizeof *spec);
}
