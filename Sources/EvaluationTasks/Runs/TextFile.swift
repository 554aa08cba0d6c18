import Files
public import MInference
import TextReports

/// Whole text files, read and replaced.
package enum TextFile {
  /// A file's text. Throws ``TaskError/unreadable(file:reason:)``.
  package static func read(_ path: String) throws -> String {
    let bytes: [UInt8]
    do {
      bytes = try WholeFile.bytesOrStream(of: path)
    } catch {
      throw TaskError.unreadable(file: path, reason: error.reason)
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw TaskError.unreadable(file: path, reason: "it is not UTF-8")
    }
    return text
  }

  package static func exists(_ path: String) -> Bool { WholeFile.exists(path) }

  /// Replaces a file by text, as a whole or not at all.
  /// Throws ``RunError/unwritable(file:reason:)``.
  package static func replace(_ path: String, with text: String) throws {
    do {
      try FileReplacement.write(text, to: path)
    } catch {
      throw RunError.unwritable(file: path, reason: error.reason)
    }
  }
}

/// Errors of a run's results.
public enum RunError: RemediedError, Sendable, Equatable {
  case unwritable(file: String, reason: String)
  /// Another run writes the file.
  case inUse(file: String)
  /// The file is not a results file, or a line is not a result.
  case malformed(file: String, line: Int, problem: String)
  /// A line of a results file is not JSON: the file was edited or damaged.
  case damagedLine(file: String, line: Int, problem: String)
  case otherRun(file: String, field: String, found: String, wanted: String)
  case textTooShort(tokens: Int, wanted: Int)
  case unknownMethod(name: String)

  public func description(naming setting: (Remedy.Setting) -> String) -> String {
    switch self {
    case .unwritable(let file, let reason):
      "\(file): cannot be written (\(reason)); free some space or name another file"
    case .inUse(let file):
      "\(file): is written by another run at this moment; wait for it or name another file"
    case .malformed(let file, let line, let problem):
      "\(file): line \(line) \(problem); give the results of a run, or another file"
    case .damagedLine(let file, let line, let problem):
      "\(file): line \(line) is damaged (\(problem)); take this line out and run again: its result is "
        + "computed again, the others stay"
    case .otherRun(let file, let field, let found, let wanted):
      "\(file): holds results with \(field) \(found) and this run has \(wanted); name another file"
    case .textTooShort(let tokens, let wanted):
      "the text has \(Quantity.grouped(tokens)) tokens and \(Quantity.grouped(wanted)) are wanted; "
        + Remedy(use: .longerEvaluationText, .smallerPromptLengths).text(naming: setting)
    case .unknownMethod(let name):
      "\"\(name)\" is no method of this run; "
        + Remedy(use: .runMethods).text(naming: setting)
    }
  }
}
