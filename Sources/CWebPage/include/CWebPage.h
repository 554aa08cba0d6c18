#ifndef CWEBPAGE_H
#define CWEBPAGE_H

#include <stddef.h>

// A file of the page, as it lies in Page/.
typedef struct {
  const char *name;
  const unsigned char *bytes;
  size_t length;
} web_page_file;

// The file of this number; one without a name behind the last.
web_page_file web_page_file_at(size_t index);

#endif
