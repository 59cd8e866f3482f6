/* What the library needs of <string.h>, for compilers without a C library. */
#ifndef STRING_H
#define STRING_H

#include <stddef.h>

void *memset(void *to, int value, size_t size);
void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
size_t strlen(const char *text);

#endif
