#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A regular file that is read part by part, for what is too large to be read as a whole.
package final class FileReader: Sendable {
  package let path: String
  /// When the file was opened.
  package let byteCount: Int
  private let file: OpenedFile

  /// - Throws: ``FileError``, also for what is no regular file.
  package init(path: String) throws(FileError) {
    self.path = path
    // Without O_NONBLOCK a named pipe would wait for its writer for ever.
    file = try OpenedFile(path: path, flags: O_RDONLY | O_NONBLOCK)
    let status = try file.status()
    guard status.isRegular else { throw FileError(path, .notRegular(status.kind)) }
    byteCount = status.byteCount
  }

  /// The next bytes; fewer only at the end.
  package func read(_ count: Int) throws(FileError) -> [UInt8] {
    try file.read(count)
  }

  /// Fills memory with the bytes from `offset` on, wherever reading has come to. Several threads may.
  ///
  /// - Throws: ``FileError``, also for a file that ends before.
  package func read(
    into bytes: UnsafeMutableRawBufferPointer, at offset: Int
  ) throws(FileError) {
    var done = 0
    while done < bytes.count, let start = bytes.baseAddress {
      let count = pread(
        file.descriptor, start + done, bytes.count - done, off_t(offset + done))
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw FileError.last(path) }
      guard count > 0 else {
        throw FileError(
          path, .changed(expectedBytes: offset + bytes.count, foundBytes: offset + done))
      }
      done += count
    }
  }

  /// Goes on at this offset.
  package func seek(to offset: Int) throws(FileError) {
    guard lseek(file.descriptor, off_t(offset), SEEK_SET) >= 0 else { throw FileError.last(path) }
  }
}
