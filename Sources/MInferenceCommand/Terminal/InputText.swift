import Files

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Text that the user gives in a file or on standard input.
enum InputText {
  /// The file's text, as it stands. Throws a ``CommandFailure`` that names the file if it cannot be
  /// read or is not UTF-8.
  static func read(path: String) throws -> String {
    do {
      return try text(of: WholeFile.bytesOrStream(of: path), name: path)
    } catch let error as FileError {
      throw CommandFailure(
        .inputMissing, "\(path): cannot be read (\(error.reason)); name a readable file")
    }
  }

  /// All of standard input.
  static func readStandardInput() throws -> String {
    try text(of: readAll(STDIN_FILENO, name: "standard input"), name: "standard input")
  }

  private static func readAll(_ descriptor: Int32, name: String) throws -> [UInt8] {
    var bytes: [UInt8] = []
    while true {
      let more = try readSome(descriptor, name: name)
      guard !more.isEmpty else { return bytes }
      bytes += more
    }
  }

  /// What can be had at once, after waiting for some; empty at the end.
  static func readSome(_ descriptor: Int32, name: String) throws -> [UInt8] {
    while true {
      var count = 0
      let bytes = [UInt8](unsafeUninitializedCapacity: 1 << 20) { buffer, filled in
        count = buffer.baseAddress.map { systemRead(descriptor, $0, buffer.count) } ?? 0
        filled = max(0, count)
      }
      if count >= 0 { return bytes }
      if errno != EINTR {
        throw CommandFailure(
          .inputMissing, "\(name): cannot be read (\(systemMessage(errno))); name a readable file")
      }
    }
  }

  private static func text(of bytes: [UInt8], name: String) throws -> String {
    if let text = String(validating: bytes, as: UTF8.self) { return text }
    throw CommandFailure(
      .inputData,
      "\(name): is not UTF-8 text (byte \(firstInvalidByte(in: bytes))); convert it to UTF-8 first")
  }

  /// The offset at which UTF-8 decoding fails first.
  private static func firstInvalidByte(in bytes: [UInt8]) -> Int {
    var decoder = UTF8()
    var iterator = bytes.makeIterator()
    var offset = 0
    while case .scalarValue(let scalar) = decoder.decode(&iterator) {
      offset += UTF8.width(scalar)
    }
    return offset
  }
}

private func systemRead(_ descriptor: Int32, _ buffer: UnsafeMutableRawPointer, _ count: Int) -> Int
{
  #if canImport(Glibc)
    Glibc.read(descriptor, buffer, count)
  #elseif canImport(Musl)
    Musl.read(descriptor, buffer, count)
  #else
    Darwin.read(descriptor, buffer, count)
  #endif
}
