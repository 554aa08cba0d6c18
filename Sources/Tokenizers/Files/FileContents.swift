#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Whole small files as bytes.
package enum FileContents {
  /// The largest file that is read; the largest tokenizer.json known has some 35 MB.
  private static let largestSize = 1 << 30

  /// Whether something that can be opened for reading lies at `path`.
  static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

  /// Whether `path` is a directory.
  static func isDirectory(_ path: String) -> Bool {
    guard let handle = opendir(path) else { return false }
    closedir(handle)
    return true
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

  /// The bytes of the file at `path`.
  ///
  /// - Throws: `.unreadable` with the system's reason or for what is not a file (a device or a pipe could be
  ///   read without end), `.unsupported` past the limit.
  static func bytes(of path: String) throws(TokenizerError) -> [UInt8] {
    // Without O_NONBLOCK opening a pipe waits for its writer.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw unreadable(path) }
    defer { close(descriptor) }

    var information = stat()
    guard fstat(descriptor, &information) == 0 else { throw unreadable(path) }
    guard information.st_mode & S_IFMT == S_IFREG else {
      throw TokenizerError(.unreadable, path, "is not a file")
    }
    guard Int(information.st_size) <= largestSize else {
      throw TokenizerError(
        .unsupported, path, "\(information.st_size) bytes, past the limit of \(largestSize)")
    }
    var contents: [UInt8] = []
    contents.reserveCapacity(Int(information.st_size) + 1)
    var buffer = [UInt8](repeating: 0, count: 1 << 18)
    while true {
      let count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw unreadable(path) }
      if count == 0 { return contents }
      contents.append(contentsOf: buffer[..<count])
      guard contents.count <= largestSize else {
        throw TokenizerError(.unsupported, path, "is longer than \(largestSize) bytes")
      }
    }
  }

  private static func unreadable(_ path: String) -> TokenizerError {
    TokenizerError(.unreadable, path, String(cString: strerror(errno)))
  }
}
