#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif
import CSystemCalls

/// What the process arranges with the system before it does anything.
enum ProcessSetup {
  static func perform() throws {
    // A reader that went away is found at the write, which then ends the command in order.
    signal(SIGPIPE, SIG_IGN)
    // A file that grows too large is then found at the write too, as a full disk is.
    signal(SIGXFSZ, SIG_IGN)
    for number in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] { endAtOnce(on: number) }
    _ = csystem_install_sigbus_handler()
    try checkStreams()
  }

  /// Ends the process from inside the handler: no thread has to notice, however deep it computes.
  /// The terminal's modes are never changed, so all it needs is a fresh line for the prompt.
  private static func endAtOnce(on number: Int32) {
    let earlier = signal(number) { number in
      // Only calls that are safe in a signal handler.
      csystem_remove_drafts()
      if isatty(STDERR_FILENO) == 1 {
        let lineEnd: StaticString = "\n"
        _ = write(STDERR_FILENO, lineEnd.utf8Start, 1)
      }
      _exit(128 + number)
    }
    // `nohup` ignores SIGHUP: the work goes on when the terminal closes.
    if number == SIGHUP, isIgnored(earlier) { signal(number, SIG_IGN) }
  }

  private static func isIgnored(_ handler: (@convention(c) (Int32) -> Void)?) -> Bool {
    unsafeBitCast(handler, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
  }

  /// A closed descriptor would be handed out again for the next file opened, and results or
  /// warnings would be written into it.
  private static func checkStreams() throws {
    // First, for a stream opened below would take the place of a missing standard output.
    guard fcntl(STDOUT_FILENO, F_GETFD) != -1 else {
      throw CommandFailure(
        .inputOutput, "standard output: is closed; run without >&- or redirect it to a file")
    }
    for descriptor in [STDIN_FILENO, STDERR_FILENO] where fcntl(descriptor, F_GETFD) == -1 {
      // The lowest free descriptor is given: the missing one, as those below it are open.
      _ = open("/dev/null", O_RDWR)
    }
  }
}
