import TextReports

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Why a file cannot be read or written. ``reason`` says it in a few words that stand after the
/// file's name in a message.
package struct FileError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The cause.
  package enum Problem: Equatable, Sendable {
    /// There is nothing at the path.
    case notFound
    /// A regular file is needed, and the path leads to this ("a directory", "a named pipe").
    case notRegular(String)
    /// More bytes than the reader takes; nil where the end was not reached.
    case tooLarge(bytes: Int?, limit: Int)
    /// The file changed while it was read or mapped.
    case changed(expectedBytes: Int, foundBytes: Int)
    /// Another process, or another part of this one, writes the file.
    case inUse
    /// The directory in which the new file would be made does not take it.
    case directory(Int32)
    /// What the operating system says, an `errno`.
    case system(Int32)
  }

  package let path: String
  package let problem: Problem

  package init(_ path: String, _ problem: Problem) {
    self.path = path
    self.problem = problem
  }

  /// The problem behind the latest `errno`.
  static func last(_ path: String) -> FileError {
    FileError(path, errno == ENOENT ? .notFound : .system(errno))
  }

  /// Whether there is nothing at the path, as opposed to something that cannot be read.
  package var isNotFound: Bool { problem == .notFound }

  /// The problem in a few words.
  package var reason: String {
    switch problem {
    case .notFound: "no such file"
    case .notRegular(let kind): "it is \(kind), not a regular file"
    case .tooLarge(let bytes?, let limit):
      "\(Quantity.bytes(bytes)), more than the \(Quantity.bytes(limit)) allowed"
    case .tooLarge(nil, let limit): "more than the \(Quantity.bytes(limit)) allowed"
    case .changed(let expected, let found) where expected == found: "it changed while it was read"
    case .changed(let expected, let found):
      "it became \(found) bytes long while it was read, \(expected) before"
    case .inUse: "another run writes it at this moment"
    case .directory(ENOENT): "its directory is not there"
    case .directory(let number): "its directory: \(Self.words(number))"
    case .system(let number): Self.words(number)
    }
  }

  private static func words(_ number: Int32) -> String {
    switch number {
    case ENOSPC, EDQUOT: "the disk is full"
    case EFBIG: "larger than the system allows a file to be"
    case ENXIO: "nobody reads this pipe"
    default: strerror(number).map { String(cString: $0) } ?? "error \(number)"
    }
  }

  package var description: String { "\(SystemPath.readable(path)): \(reason)" }
}
