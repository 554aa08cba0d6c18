#include "CBuild.h"

// Written by .ci/write-commit, which make calls; git ignores it.
#if __has_include("commit.h")
#include "commit.h"
#endif
#ifndef MINFERENCE_COMMIT
#define MINFERENCE_COMMIT "unknown"
#endif

const char *cbuild_commit(void) { return MINFERENCE_COMMIT; }

const char *cbuild_compiler(void) { return __VERSION__; }

const char *cbuild_target(void) {
#if defined(__x86_64__)
#define PROCESSOR "x86_64"
#elif defined(__aarch64__)
#define PROCESSOR "aarch64"
#else
#define PROCESSOR "another processor"
#endif
#if defined(__APPLE__)
  return PROCESSOR "-macos";
#elif defined(__linux__)
  return PROCESSOR "-linux";
#else
  return PROCESSOR;
#endif
}
