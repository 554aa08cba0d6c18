#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Memory, processors and time, as the operating system and the container see them.

/// The largest resident set this process has had, in bytes; 0 where the system does not say.
/// Mapped files count as far as their pages are resident.
uint64_t csystem_peak_memory_bytes(void);

/// Bytes that can still be allocated without swapping: what the kernel calls available, or what the
/// memory limits of the control groups (version 1 or 2) leave, whichever is less. 0 where the
/// system does not say.
uint64_t csystem_available_memory_bytes(void);

/// The same, reading `root`/proc and `root`/sys/fs/cgroup. For tests; Linux alone.
uint64_t csystem_available_memory_bytes_under(const char *root);

/// Processors this process may use: its affinity mask, cut to the control groups' quota, rounded up.
/// At least 1.
int csystem_cpu_count(void);

/// `count` cut to the processor quota of the control groups that `root`/proc/self/cgroup names,
/// rounded up, at least 1. For tests; Linux alone.
int csystem_cpu_count_under(const char *root, int count);

/// Seconds on a clock that never goes back. Only differences mean something.
double csystem_monotonic_seconds(void);

// Threads with stacks of 8 MiB, whatever the system's default is.

/// Runs body(context) on a new thread. Returns 0, or the number of the error that kept it from starting.
int csystem_start_thread(void (*body)(void *context), void *context);

/// A number that this thread has and no other thread that runs meanwhile; never 0.
uintptr_t csystem_thread_identity(void);

/// Runs body(context, index) for every index from 0 up to `count`, in any order, on as many threads as
/// there are processors, the caller's among them. Returns when all have ended.
void csystem_for_each(int64_t count, void (*body)(void *context, int64_t index), void *context);

/// Starts so many threads (64 at most) that live at the same time, and ends them. Returns 0, or the
/// number of the error that kept one from starting: some libraries wait for threads without end.
int csystem_try_threads(int count);

// Limits of this process (getrlimit).

/// Files that may be open at a time.
uint64_t csystem_open_file_limit(void);

/// Whether its address space or its data are limited.
bool csystem_memory_is_limited(void);

/// Whether so many further bytes can be mapped. They are given back at once.
bool csystem_can_map(size_t bytes);

// Pages of memory that can lie at several addresses: what is written at one is read at all.

/// Bytes of a page.
size_t csystem_page_bytes(void);

/// Whether the system has such pages: Linux, where mremap can make a second mapping. Tried once.
bool csystem_can_share_pages(void);

/// How many mappings a process may have.
int csystem_most_mappings(void);

/// Address space for whole pages, which are zero and taken as they are first written. NULL: there is none.
void *csystem_map_pages(size_t bytes);

/// Lets pages that lie at `pages` lie at `address` too, in the place of those that lie there, which
/// csystem_map_pages gave. Everything is a multiple of a page. After a failure nothing is known to lie at `address`.
bool csystem_map_pages_again(void *address, void *pages, size_t bytes);

/// Gives the pages back, wherever they lie: they are zero again.
void csystem_drop_pages(void *address, size_t bytes);

/// Ends lying at `address`. Pages that lie nowhere any more are given back.
void csystem_unmap_pages(void *address, size_t bytes);

// Interrupts (SIGINT) that stop one thing and not the process.

/// From now on the first interrupt is for the caller, who looks at `csystem_was_interrupted`; or none is.
void csystem_catch_interrupts(bool catches);

/// For the handler of SIGINT: whether the interrupt is for somebody, as the first since he asked.
/// Async-signal-safe.
bool csystem_take_interrupt(void);

/// Whether an interrupt was taken since `csystem_catch_interrupts`.
bool csystem_was_interrupted(void);

// TCP connections between the processes of one run (IPv4). Descriptors are 0 or more; negative results are
// error numbers.

/// Listens at `port` of every address; 0 for any free port. Puts the port into `bound`.
int csystem_listen(int port, int *bound);

/// Waits for a connection, and puts the other side's address into `peer`. -ETIMEDOUT after so long.
int csystem_accept(int listener, int milliseconds, char *peer, size_t capacity);

/// Connects to a host by name or address.
int csystem_connect(const char *host, int port);

/// From now on receiving ends with ETIMEDOUT when nothing comes for so long. Returns 0 or an error number.
int csystem_set_receive_timeout(int socket, int milliseconds);

/// Sends all bytes. Returns 0 or an error number.
int csystem_send_all(int socket, const void *bytes, size_t count);

/// Receives so many bytes. Returns 0 or an error number; ECONNRESET when the other side has closed.
int csystem_receive_all(int socket, void *bytes, size_t count);

/// Ends a connection, so that threads that wait for it go on.
void csystem_shutdown(int socket);

void csystem_close(int descriptor);

void csystem_sleep_milliseconds(int milliseconds);

/// This machine's name. Returns 0 or an error number.
int csystem_host_name(char *name, size_t capacity);

// Mapped files. A mapping reads as SIGBUS where its file has become shorter.

/// Remembers that `length` bytes at `address` are a mapping of the file at `path`, so that the
/// SIGBUS handler can name the file. Safe on any thread. False when the table is full: the mapping
/// works all the same, and only the message would be missing.
bool csystem_guard_mapping(const void *address, size_t length, const char *path);

/// Forgets the mapping that begins at `address`. Call it before munmap.
void csystem_unguard_mapping(const void *address);

/// From now on a SIGBUS inside a guarded mapping ends the process with code 74 (EX_IOERR) and one
/// line on standard error that names the file. Other SIGBUS go to the handler there was before.
/// For programs, not for libraries. Returns false when the handler could not be installed.
bool csystem_install_sigbus_handler(void);

// Drafts: files that are being written under a name of their own until they are whole.

/// Remembers the draft at `path` so that csystem_remove_drafts removes it. Safe on any thread.
/// Returns its number, or -1 when the table is full or the path too long: the draft then stays behind
/// if a signal ends the process.
int csystem_guard_draft(const char *path);

/// Forgets the draft of this number; -1 is ignored. Call it when the draft was renamed or removed.
void csystem_unguard_draft(int draft);

/// Removes all drafts. For signal handlers that end the process at once: it is async-signal-safe.
void csystem_remove_drafts(void);

/// Removes the draft of this number in a forked child, as a signal handler would all of them. Returns
/// the child's exit code, or -1 when there is no child. For tests.
int csystem_testing_remove_draft_in_child(int draft);

/// Reads every page of the given range in a forked child that has the SIGBUS handler installed.
/// Puts what the child wrote to standard error into `message`, ended by 0, and returns the status
/// of waitpid, or -1 when there is no child. For tests.
int csystem_testing_read_in_child(const void *address, size_t length, char *message, size_t capacity);

#ifdef __cplusplus
}
#endif
