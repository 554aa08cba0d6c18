import MInference

/// How the command ends when it fails: the codes of BSD's sysexits.
enum ExitStatus: Int32 {
  /// Wrong flags or values of flags.
  case usage = 64
  /// Input that is there but cannot be used: not UTF-8, empty, longer than the context.
  case inputData = 65
  /// A file or directory that is not there or cannot be read.
  case inputMissing = 66
  /// A device or library that this machine or build lacks.
  case unavailable = 69
  /// A fault of the program itself.
  case software = 70
  /// The system refused memory or threads.
  case system = 71
  /// An output file cannot be made.
  case cannotCreate = 73
  /// Reading or writing failed.
  case inputOutput = 74
  /// A checkpoint or pattern file that does not hold what it should.
  case configuration = 78
}

/// A failure that the command itself found; the message is one line.
struct CommandFailure: Error, CustomStringConvertible {
  var status: ExitStatus
  var description: String
  /// What the library threw, where that decides what is tried next.
  var cause: LanguageModelError?

  init(_ status: ExitStatus, _ description: String, cause: LanguageModelError? = nil) {
    self.status = status
    self.description = description
    self.cause = cause
  }
}
