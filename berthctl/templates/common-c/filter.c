#include "filter.h"

#include <berth/c_helpers.h>
#include <ctype.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

enum comparison { PRESENT, EQUAL, NOT_EQUAL, MATCHES };

struct term {
  char *field;
  char *rest;
  enum comparison how;
  char *value;
  regex_t pattern; /* of MATCHES */
  struct term *next;
};

struct filter_set {
  size_t count;
  struct term **filters;
};

static void term_free(struct term *term) {
  while (term != NULL) {
    struct term *next = term->next;
    if (term->how == MATCHES) regfree(&term->pattern);
    free(term->field);
    free(term->rest);
    free(term->value);
    free(term);
    term = next;
  }
}

/* A quoted text, or as many characters as `fits` says. NULL: there is none, or no memory. */
static char *take_word(const char **at, int (*fits)(int)) {
  char *word = malloc(strlen(*at) + 1);
  size_t size = 0;
  if (word == NULL) return NULL;
  if (**at == '"') {
    for (++*at; **at != '"'; ++*at) {
      if (**at == '\\' && (*at)[1] != '\0') ++*at;
      if (**at == '\0') {
        free(word);
        return NULL;
      }
      word[size++] = **at;
    }
    ++*at;
  } else {
    while (**at != '\0' && fits((unsigned char)**at)) word[size++] = *(*at)++;
    if (size == 0) {
      free(word);
      return NULL;
    }
  }
  word[size] = '\0';
  return word;
}

static int fits_field(int c) { return isalnum(c) || c == '_' || c == '-' || c == '/'; }
static int fits_value(int c) { return c != ',' && c != '"'; }

/* field.field… : the first one, and the others joined by dots. */
static int take_path(const char **at, struct term *term) {
  term->field = take_word(at, fits_field);
  term->rest = calloc(1, strlen(*at) + 1);
  if (term->field == NULL || term->rest == NULL) return 0;
  while (**at == '.') {
    char *part = NULL;
    ++*at;
    part = take_word(at, fits_field);
    if (part == NULL) return 0;
    if (term->rest[0] != '\0') strcat(term->rest, ".");
    strcat(term->rest, part);
    free(part);
  }
  return 1;
}

static int take_operator(const char **at, struct term *term) {
  const size_t size = strspn(*at, "=!~");
  if (size == 0) return 1; /* the field must be there */
  if (size != 2) return 0;
  if (strncmp(*at, "==", 2) == 0) {
    term->how = EQUAL;
  } else if (strncmp(*at, "!=", 2) == 0) {
    term->how = NOT_EQUAL;
  } else if (strncmp(*at, "~=", 2) == 0) {
    term->how = MATCHES;
  } else {
    return 0;
  }
  *at += 2;
  term->value = take_word(at, fits_value);
  if (term->value == NULL) return 0;
  if (term->how == MATCHES && regcomp(&term->pattern, term->value, REG_EXTENDED | REG_NOSUB) != 0) {
    term->how = PRESENT; /* there is no pattern to be freed */
    return 0;
  }
  return 1;
}

static struct term *parse(const char *filter) {
  struct term *first = NULL;
  struct term **next = &first;
  const char *at = filter;
  do {
    struct term *term = calloc(1, sizeof *term);
    if (term == NULL) break;
    *next = term;
    next = &term->next;
    if (!take_path(&at, term) || !take_operator(&at, term)) break;
    if (*at == '\0') return first;
  } while (*at++ == ',');
  term_free(first);
  return NULL;
}

struct filter_set *filters_parse(char *const *filters, size_t count, struct failure *why) {
  size_t i = 0;
  struct filter_set *set = calloc(1, sizeof *set);
  if (set != NULL) set->filters = calloc(count + 1, sizeof *set->filters);
  if (set == NULL || set->filters == NULL) {
    free(set);
    (void)fail(why, BERTH_CODE_RESOURCE_EXHAUSTED, "no memory for filters");
    return NULL;
  }
  for (i = 0; i < count; ++i) {
    if (filters[i][0] == '\0') continue; /* of nothing, which matches all: no filter */
    set->filters[set->count] = parse(filters[i]);
    if (set->filters[set->count++] == NULL) {
      (void)fail(why, BERTH_CODE_INVALID_ARGUMENT, "filter \"%.200s\" is malformed", filters[i]);
      filters_free(set);
      return NULL;
    }
  }
  return set;
}

void filters_free(struct filter_set *set) {
  size_t i = 0;
  if (set == NULL) return;
  for (i = 0; i < set->count; ++i) term_free(set->filters[i]);
  free(set->filters);
  free(set);
}

static int holds(const struct term *term, field_lookup lookup, const void *thing) {
  const char *value = lookup(thing, term->field, term->rest);
  switch (term->how) {
    case EQUAL:
      return value != NULL && strcmp(value, term->value) == 0;
    case NOT_EQUAL:
      return value == NULL || strcmp(value, term->value) != 0;
    case MATCHES:
      return value != NULL && regexec(&term->pattern, value, 0, NULL, 0) == 0;
    default:
      return value != NULL;
  }
}

int filters_match(const struct filter_set *set, field_lookup lookup, const void *thing) {
  size_t i = 0;
  for (i = 0; i < set->count; ++i) {
    const struct term *term = set->filters[i];
    while (term != NULL && holds(term, lookup, thing)) term = term->next;
    if (term == NULL) return 1;
  }
  return set->count == 0;
}
