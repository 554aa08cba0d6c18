#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

import Files
import JSON

/// Standard output, with every failed write found: results must not be lost in silence.
enum StandardOutput {
  /// The reader went away (`minference ... | head`). The command ends without a word.
  struct ReaderGone: Error {}

  /// Writes all of `text` at once; a terminal or pipe shows it immediately.
  static func write(_ text: String) throws {
    var text = text
    try text.withUTF8 { try write(UnsafeRawBufferPointer($0)) }
  }

  private static func write(_ bytes: UnsafeRawBufferPointer) throws {
    var rest = bytes[...]
    while !rest.isEmpty {
      let chunk = UnsafeRawBufferPointer(rebasing: rest)
      let written = systemWrite(STDOUT_FILENO, chunk.baseAddress, chunk.count)
      if written > 0 {
        rest = rest.dropFirst(written)
        continue
      }
      switch errno {
      case EINTR: continue
      case EPIPE: throw ReaderGone()
      case ENOSPC, EDQUOT:
        throw CommandFailure(
          .inputOutput, "standard output: the disk is full; free some space or write elsewhere")
      default:
        throw CommandFailure(
          .inputOutput,
          "standard output: cannot be written (\(systemMessage(errno))); redirect it elsewhere")
      }
    }
  }
}

/// Standard error: progress, warnings and the one line of a failure. Writes that fail are dropped.
enum StandardError {
  static func write(_ text: String) {
    var text = text
    text.withUTF8 { bytes in _ = systemWrite(STDERR_FILENO, bytes.baseAddress, bytes.count) }
  }

  /// One line that begins with the command's name: what it says of files is made printable and short,
  /// whoever wrote it.
  static func note(_ message: String) {
    let line = printable(message, limit: longestNote)
    write("minference: \(SystemPath.readable(line))\n")
  }

  /// Characters of a line at most.
  private static let longestNote = 1200

  static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }

  /// Width of the terminal in characters; 80 where it does not say.
  static var columns: Int {
    var size = winsize()
    guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }
}

/// What the system calls an error number.
func systemMessage(_ number: Int32) -> String {
  strerror(number).map { String(cString: $0) } ?? "error \(number)"
}

private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
  // The name `write` is taken by the enums above.
  #if canImport(Glibc)
    Glibc.write(descriptor, bytes, count)
  #elseif canImport(Musl)
    Musl.write(descriptor, bytes, count)
  #else
    Darwin.write(descriptor, bytes, count)
  #endif
}
