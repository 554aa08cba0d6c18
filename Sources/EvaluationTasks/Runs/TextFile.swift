public import MInference

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Whole text files, read, appended to and replaced.
package enum TextFile {
  /// A file's text. Throws ``TaskError/unreadable(file:reason:)``.
  package static func read(_ path: String) throws -> String {
    guard let file = fopen(path, "rb") else { throw unreadable(path) }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = fread(&buffer, 1, buffer.count, file)
      bytes += buffer[..<count]
      if count < buffer.count { break }
    }
    guard ferror(file) == 0 else { throw unreadable(path) }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw TaskError.unreadable(file: path, reason: "it is not UTF-8")
    }
    return text
  }

  package static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

  /// Adds text at a file's end, and makes the file if there is none.
  /// Throws ``RunError/unwritable(file:reason:)``.
  package static func append(_ text: String, to path: String) throws {
    try write(text, to: path, mode: "ab")
  }

  /// Puts text in the place of a file. Throws ``RunError/unwritable(file:reason:)``.
  package static func replace(_ path: String, with text: String) throws {
    // Through a second file: a full disk or a kill leaves the old text.
    let draft = path + ".new"
    try write(text, to: draft, mode: "wb", name: path)
    guard rename(draft, path) == 0 else { throw unwritable(path) }
  }

  private static func write(
    _ text: String, to path: String, mode: String, name: String? = nil
  ) throws {
    guard let file = fopen(path, mode) else { throw unwritable(name ?? path) }
    var text = text
    let written = text.withUTF8 { fwrite($0.baseAddress, 1, $0.count, file) }
    let closed = fclose(file) == 0
    guard written == text.utf8.count, closed else { throw unwritable(name ?? path) }
  }

  private static func unreadable(_ path: String) -> TaskError {
    .unreadable(file: path, reason: String(cString: strerror(errno)))
  }

  private static func unwritable(_ path: String) -> RunError {
    .unwritable(file: path, reason: String(cString: strerror(errno)))
  }
}

/// What can go wrong with the results of a run.
public enum RunError: RemediedError, Sendable, Equatable {
  case unwritable(file: String, reason: String)
  case malformed(file: String, line: Int, problem: String)
  case otherRun(file: String, field: String, found: String, wanted: String)
  case textTooShort(tokens: Int, wanted: Int)
  case unknownMethod(name: String)

  public func description(naming setting: (Remedy.Setting) -> String) -> String {
    switch self {
    case .unwritable(let file, let reason):
      "\(file): cannot be written (\(reason)); name a file in a directory that is there"
    case .malformed(let file, let line, let problem):
      "\(file): line \(line) \(problem); give the results of a run, or another file"
    case .otherRun(let file, let field, let found, let wanted):
      "\(file): holds results with \(field) \(found) and this run has \(wanted); name another file"
    case .textTooShort(let tokens, let wanted):
      "the text has \(tokens) tokens and \(wanted) are wanted; "
        + Remedy(use: .longerEvaluationText, .smallerPromptLengths).text(naming: setting)
    case .unknownMethod(let name):
      "\"\(name)\" is no method of this run; "
        + Remedy(use: .runMethods).text(naming: setting)
    }
  }
}
