#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif
import CSystem

/// What the process arranges with the system before it does anything.
enum ProcessSetup {
  static func perform() throws {
    // A reader that went away is found at the write, which then ends the command in order.
    signal(SIGPIPE, SIG_IGN)
    endAtOnce(on: SIGINT)
    endAtOnce(on: SIGTERM)
    _ = csystem_install_sigbus_handler()
    try checkStreams()
  }

  /// Ends the process from inside the handler: no thread has to notice, however deep it computes.
  /// The terminal's modes are never changed, so all it needs is a fresh line for the prompt.
  private static func endAtOnce(on number: Int32) {
    signal(number) { number in
      // Only calls that are safe in a signal handler.
      if isatty(STDERR_FILENO) == 1 {
        let lineEnd: StaticString = "\n"
        _ = write(STDERR_FILENO, lineEnd.utf8Start, 1)
      }
      _exit(128 + number)
    }
  }

  /// A closed descriptor would be handed out again for the next file opened, and results or
  /// warnings would be written into it.
  private static func checkStreams() throws {
    for descriptor in [STDIN_FILENO, STDERR_FILENO] where fcntl(descriptor, F_GETFD) == -1 {
      // The lowest free descriptor is given: the missing one, as those below it are open. Should
      // standard output be missing too, it is closed again below.
      _ = open("/dev/null", O_RDWR)
    }
    guard fcntl(STDOUT_FILENO, F_GETFD) != -1 else {
      throw CommandFailure(
        .inputOutput, "standard output: is closed; run without >&- or redirect it to a file")
    }
  }
}
