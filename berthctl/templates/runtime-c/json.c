#include "json.h"

#include <berth/c_helpers.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

#define DEEPEST 64

struct reader {
  const char *at, *end;
};

static void skip_space(struct reader *in) {
  while (in->at < in->end && memchr(" \t\r\n", *in->at, 4) != NULL) ++in->at;
}

static int take(struct reader *in, char c) {
  skip_space(in);
  if (in->at == in->end || *in->at != c) return 0;
  ++in->at;
  return 1;
}

static int take_word(struct reader *in, const char *word) {
  const size_t size = strlen(word);
  if ((size_t)(in->end - in->at) < size || memcmp(in->at, word, size) != 0) return 0;
  in->at += size;
  return 1;
}

/* Four hexadecimal digits; -1: they are none. */
static long take_unit(struct reader *in) {
  long unit = 0;
  int i = 0;
  for (i = 0; i < 4; ++i, ++in->at) {
    const char *const digits = "0123456789abcdef0123456789ABCDEF";
    const char *digit = in->at == in->end || *in->at == '\0' ? NULL : strchr(digits, *in->at);
    if (digit == NULL) return -1;
    unit = unit * 16 + (digit - digits) % 16;
  }
  return unit;
}

/* What follows "\u", as UTF-8; NULL: it is no character. */
static char *take_character(struct reader *in, char *out) {
  long c = take_unit(in);
  if (c >= 0xd800 && c < 0xdc00) { /* the first half of a pair */
    const long low = take_word(in, "\\u") ? take_unit(in) : -1;
    if (low < 0xdc00 || low > 0xdfff) return NULL;
    c = 0x10000 + (c - 0xd800) * 0x400 + (low - 0xdc00);
  } else if (c <= 0 || (c >= 0xdc00 && c <= 0xdfff)) {
    return NULL;
  }
  if (c < 0x80) {
    *out++ = (char)c;
    return out;
  }
  if (c >= 0x10000) {
    *out++ = (char)(0xf0 | c >> 18);
    *out++ = (char)(0x80 | (c >> 12 & 0x3f));
  } else if (c >= 0x800) {
    *out++ = (char)(0xe0 | c >> 12);
  } else {
    *out++ = (char)(0xc0 | c >> 6);
  }
  if (c >= 0x800) *out++ = (char)(0x80 | (c >> 6 & 0x3f));
  *out++ = (char)(0x80 | (c & 0x3f));
  return out;
}

/* As long as a text may be: an escape is never shorter than what it stands for. */
static size_t size_of_text(const struct reader *in) {
  const char *at = in->at;
  while (at < in->end && *at != '"') at += *at == '\\' && at + 1 < in->end ? 2 : 1;
  return (size_t)(at - in->at);
}

/* To be freed; NULL: it is none. */
static char *take_text(struct reader *in) {
  char *const text = take(in, '"') ? zeroed(size_of_text(in) + 1) : NULL;
  char *out = text;
  while (out != NULL && in->at < in->end && *in->at != '"') {
    const char c = *in->at++;
    if (c != '\\') {
      *out++ = c;
      if ((unsigned char)c < 0x20) out = NULL; /* they are written as escapes */
    } else if (take_word(in, "u")) {
      out = take_character(in, out);
    } else {
      static const char escapes[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
      const char *const escape = in->at == in->end ? NULL : memchr(escapes, *in->at++, sizeof escapes - 1);
      if (escape != NULL) *out++ = meant[escape - escapes];
      if (escape == NULL) out = NULL;
    }
  }
  if (out != NULL && take_word(in, "\"")) return text;
  free(text);
  return NULL;
}

static int take_digits(struct reader *in) {
  const char *const begin = in->at;
  while (in->at < in->end && *in->at >= '0' && *in->at <= '9') ++in->at;
  return in->at != begin;
}

static int take_number(struct reader *in, struct json *out) {
  const char *const begin = in->at;
  char *text = NULL;
  (void)take_word(in, "-");
  if (!take_word(in, "0") && !take_digits(in)) return 0;
  if (take_word(in, ".") && !take_digits(in)) return 0;
  if (take_word(in, "e") || take_word(in, "E")) {
    if (!take_word(in, "+")) (void)take_word(in, "-");
    if (!take_digits(in)) return 0;
  }
  text = printed("%.*s", (int)(in->at - begin), begin);
  out->kind = JSON_NUMBER;
  out->number = strtod(text, NULL);
  free(text);
  return 1;
}

static struct json *take_value(struct reader *in, int depth);

/* The members after [ or {, and their end. */
static int take_members(struct reader *in, struct json *out, char end, int depth) {
  struct json **next = &out->first;
  if (take(in, end)) return 1;
  do {
    char *const name = end == '}' ? take_text(in) : NULL;
    if (end == '}' && (name == NULL || !take(in, ':'))) {
      free(name);
      return 0;
    }
    *next = take_value(in, depth + 1);
    if (*next == NULL) {
      free(name);
      return 0;
    }
    (*next)->name = name;
    next = &(*next)->next;
  } while (take(in, ','));
  return take(in, end);
}

static struct json *take_value(struct reader *in, int depth) {
  struct json *const out = zeroed(sizeof *out);
  int good = 0;
  skip_space(in);
  if (depth > DEEPEST || in->at == in->end) {
    good = 0;
  } else if (*in->at == '"') {
    out->kind = JSON_TEXT;
    out->text = take_text(in);
    good = out->text != NULL;
  } else if (take_word(in, "{")) {
    out->kind = JSON_OBJECT;
    good = take_members(in, out, '}', depth);
  } else if (take_word(in, "[")) {
    out->kind = JSON_ARRAY;
    good = take_members(in, out, ']', depth);
  } else if (take_word(in, "true")) {
    out->kind = JSON_TRUE;
    good = 1;
  } else if (take_word(in, "false")) {
    out->kind = JSON_FALSE;
    good = 1;
  } else if (take_word(in, "null")) {
    good = 1;
  } else {
    good = take_number(in, out);
  }
  if (good) return out;
  json_free(out);
  return NULL;
}

struct json *json_parse(const char *bytes, size_t size, struct failure *why) {
  struct reader in = {bytes, bytes + size};
  struct json *const value = take_value(&in, 0);
  skip_space(&in);
  if (value != NULL && in.at == in.end) return value;
  json_free(value);
  (void)fail(why, BERTH_CODE_INVALID_ARGUMENT, "malformed JSON after %zu bytes", (size_t)(in.at - bytes));
  return NULL;
}

void json_free(struct json *value) {
  while (value != NULL) {
    struct json *const next = value->next;
    json_free(value->first);
    free(value->name);
    free(value->text);
    free(value);
    value = next;
  }
}

const struct json *json_get(const struct json *object, const char *name) {
  const struct json *one = object == NULL || object->kind != JSON_OBJECT ? NULL : object->first;
  while (one != NULL && strcmp(one->name, name) != 0) one = one->next;
  return one;
}

const char *json_text(const struct json *value, const char *otherwise) {
  return value != NULL && value->kind == JSON_TEXT ? value->text : otherwise;
}

double json_number(const struct json *value, double otherwise) {
  return value != NULL && value->kind == JSON_NUMBER ? value->number : otherwise;
}

size_t json_count(const struct json *array) {
  const struct json *one = array == NULL || array->kind != JSON_ARRAY ? NULL : array->first;
  size_t count = 0;
  for (; one != NULL; one = one->next) ++count;
  return count;
}
