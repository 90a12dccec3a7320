#ifndef @IDENT@_H
#define @IDENT@_H

/* "GREETING, NAME", or "GREETING, NAME of NS" where ns is not empty. To be freed; NULL when memory is gone. */
char *@ident@_greet(const char *greeting, const char *name, const char *ns);

#endif
