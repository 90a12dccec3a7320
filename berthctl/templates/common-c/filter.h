/* The filters of list requests: `kind==active,labels."a.b"~=^x`. What is in one, separated by commas, must all hold; of several, one
 * must match, and without any all things do. */
#ifndef FILTER_H
#define FILTER_H

#include <stddef.h>

#include "failure.h"

struct filter_set;

/* NULL, and why, when one is malformed. */
struct filter_set *filters_parse(char *const *filters, size_t count, struct failure *why);
void filters_free(struct filter_set *set);

/* The value of a field of the thing, or NULL where it has none. `rest`: what stands after the first dot, "" for nothing. */
typedef const char *(*field_lookup)(const void *thing, const char *field, const char *rest);
int filters_match(const struct filter_set *set, field_lookup lookup, const void *thing);

#endif
