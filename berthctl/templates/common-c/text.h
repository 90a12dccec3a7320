/* Text in messages and in the reasons of failures is UTF-8. protobuf-c does not look. */
#ifndef TEXT_H
#define TEXT_H

#include <berth/abi.h>

int is_text(const char *text);
/* Puts a question mark in place of each byte that belongs to no character. */
void make_text(char *text);
/* Borrowed text as a C string of one's own. NULL when memory is gone. */
char *copy_text(berth_str text);

#endif
