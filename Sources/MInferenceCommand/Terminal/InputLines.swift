import Files

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The lines of standard input, as they come.
struct InputLines {
  /// A line's bytes, without its end.
  struct Line {
    var bytes: [UInt8]
    var number: Int

    /// A line that begins with a slash may name a file, whose name may be any bytes.
    func commandText() throws -> String {
      bytes.first == UInt8(ascii: "/") ? SystemPath.text(of: bytes) : try text()
    }

    /// Throws a ``CommandFailure`` where they are not UTF-8.
    func text() throws -> String {
      if let text = String(validating: bytes, as: UTF8.self) { return text }
      throw CommandFailure(
        .inputData, "standard input: line \(number) is not UTF-8 text; give it as UTF-8")
    }
  }

  private var buffer: [UInt8] = []
  /// Bytes of the buffer that were given out.
  private var used = 0
  private var number = 0
  private var isAtEnd = false

  static var isTerminal: Bool { isatty(STDIN_FILENO) == 1 }

  /// The next line, nil at the end; a last line need not be ended.
  mutating func next() throws -> Line? {
    var searched = used
    while true {
      if let end = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
        defer { used = end + 1 }
        return line(buffer[used..<end])
      }
      searched = buffer.count
      guard !isAtEnd else {
        guard used < buffer.count else { return nil }
        defer { used = buffer.count }
        return line(buffer[used...])
      }
      let more = try InputText.readSome(STDIN_FILENO, name: "standard input")
      isAtEnd = more.isEmpty
      buffer.removeFirst(used)
      searched -= used
      used = 0
      buffer += more
    }
  }

  private mutating func line(_ bytes: ArraySlice<UInt8>) -> Line {
    number += 1
    return Line(
      bytes: Array(bytes.last == UInt8(ascii: "\r") ? bytes.dropLast() : bytes),
      number: number)
  }
}
