/* A symbol that a plugin without a version script would export. */
__attribute__((visibility("default"))) int leaked(void);
int leaked(void) { return 1; }
