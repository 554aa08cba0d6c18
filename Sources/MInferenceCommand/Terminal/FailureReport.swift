import ArgumentParser
import CSystemCalls
#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Ends the command after an error: one line on standard error and a code that says what kind.
enum FailureReport {
  static func exit(with error: any Error) -> Never {
    if error is StandardOutput.ReaderGone { terminate(ExitStatus.inputOutput.rawValue) }
    if error is RankServed { terminate(0) }
    if Minference.exitCode(for: error) == .success { showHelp(error) }
    let (status, message) = describe(error)
    if !message.isEmpty { StandardError.note(oneLine(message)) }
    terminate(status)
  }

  /// The line that says what went wrong, for a program that goes on.
  static func line(for error: any Error) -> String { oneLine(describe(error).message) }

  /// --help, --version and completion scripts arrive as errors too.
  private static func showHelp(_ error: any Error) -> Never {
    do {
      try StandardOutput.write(Minference.fullMessage(for: error) + "\n")
      terminate(0)
    } catch {
      let (status, message) = describe(error)
      if !(error is StandardOutput.ReaderGone) { StandardError.note(message) }
      terminate(status)
    }
  }

  private static func describe(_ error: any Error) -> (status: Int32, message: String) {
    if let failure = error as? CommandFailure {
      return (failure.status.rawValue, failure.description)
    }
    if let code = error as? ExitCode { return (code.rawValue, "") }
    if let status = ExitStatus(for: error) { return (status.rawValue, ErrorText.of(error)) }
    // What remains are the parser's own errors, and faults that nobody foresaw.
    let status =
      Minference.exitCode(for: error) == .validationFailure ? ExitStatus.usage : .software
    return (status.rawValue, Minference.message(for: error))
  }

  private static func oneLine(_ message: String) -> String {
    message.split(whereSeparator: \.isNewline).joined(separator: " ")
  }

  private static func terminate(_ status: Int32) -> Never {
    // Without running exit handlers: other threads may still be computing, or writing.
    csystem_remove_drafts()
    _exit(status)
  }
}
