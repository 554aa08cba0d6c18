#pragma once

// How this program was built.

/// The commit, with "+changes" where files differed from it; "unknown" where `make` did not build it.
const char *cbuild_commit(void);

/// The C compiler.
const char *cbuild_compiler(void);

/// The processor that it was built for: "x86_64-linux".
const char *cbuild_target(void);
