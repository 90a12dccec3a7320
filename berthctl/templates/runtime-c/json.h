/* As much JSON as specifications are written in. */
#ifndef JSON_H
#define JSON_H

#include <stddef.h>

#include "failure.h"

enum json_kind { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_TEXT, JSON_ARRAY, JSON_OBJECT };

struct json {
  enum json_kind kind;
  char *name;         /* in an object */
  char *text;         /* of JSON_TEXT */
  double number;      /* of JSON_NUMBER */
  struct json *first; /* of arrays and objects, in their order */
  struct json *next;
};

/* NULL, and why: INVALID_ARGUMENT for what is not well-formed, has text with NUL or is nested deeper than 64. */
struct json *json_parse(const char *bytes, size_t size, struct failure *why);
void json_free(struct json *value);

/* A member of an object; NULL where there is none, also of NULL and of what is no object. */
const struct json *json_get(const struct json *object, const char *name);
/* Of another kind, or NULL: `otherwise`. */
const char *json_text(const struct json *value, const char *otherwise);
double json_number(const struct json *value, double otherwise);
/* The members of an array; 0 of anything else. */
size_t json_count(const struct json *array);

#endif
