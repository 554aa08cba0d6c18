#include "CWebPage.h"

#pragma clang diagnostic ignored "-Wc23-extensions"

static const unsigned char index_html[] = {
#embed "Page/index.html"
};

static const unsigned char page_css[] = {
#embed "Page/page.css"
};

static const unsigned char page_js[] = {
#embed "Page/page.js"
};

static const unsigned char attention_js[] = {
#embed "Page/attention.js"
};

static const unsigned char openapi_json[] = {
#embed "Page/openapi.json"
};

static const web_page_file files[] = {
    {"index.html", index_html, sizeof(index_html)},
    {"page.css", page_css, sizeof(page_css)},
    {"page.js", page_js, sizeof(page_js)},
    {"attention.js", attention_js, sizeof(attention_js)},
    {"openapi.json", openapi_json, sizeof(openapi_json)},
};

web_page_file web_page_file_at(size_t index) {
  if (index < sizeof(files) / sizeof(files[0])) return files[index];
  return (web_page_file){0, 0, 0};
}
