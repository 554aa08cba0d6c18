import Files

/// Whole small files as bytes.
package enum FileContents {
  /// The largest file that is read; the largest tokenizer.json known has some 35 MB.
  private static let largestSize = 1 << 30

  /// Whether something that can be opened for reading lies at `path`.
  static func exists(_ path: String) -> Bool { WholeFile.exists(path) }

  /// Whether `path` is a directory.
  static func isDirectory(_ path: String) -> Bool { WholeFile.isDirectory(path) }

  /// The names in the directory at `path`, in the order of their bytes.
  ///
  /// - Throws: `.unreadable` with the system's reason.
  static func names(in path: String) throws(TokenizerError) -> [String] {
    do {
      return try WholeFile.names(inDirectory: path)
    } catch {
      throw TokenizerError(.unreadable, path, error.reason)
    }
  }

  /// The bytes of the file at `path`, valid UTF-8.
  ///
  /// - Throws: `.unreadable` with the system's reason, `.malformed` naming the first bad byte.
  package static func utf8(of path: String) throws(TokenizerError) -> [UInt8] {
    let bytes = try bytes(of: path)
    if let offset = bytes.withUnsafeBufferPointer(UTF8Bytes.firstInvalidOffset) {
      throw TokenizerError(.malformed, path, "not UTF-8 at byte \(offset)")
    }
    return bytes
  }

  /// The bytes of the regular file at `path`.
  ///
  /// - Throws: `.unreadable` with the reason, `.unsupported` past the limit.
  static func bytes(of path: String) throws(TokenizerError) -> [UInt8] {
    do {
      return try WholeFile.bytes(of: path, limit: largestSize)
    } catch {
      switch error.problem {
      case .tooLarge: throw TokenizerError(.unsupported, path, error.reason)
      // A device or a pipe could be read without end.
      case .notRegular: throw TokenizerError(.unreadable, path, "is not a file")
      default: throw TokenizerError(.unreadable, path, error.reason)
      }
    }
  }
}
