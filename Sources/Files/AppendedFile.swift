#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A file of lines that grows at its end and is never rewritten: results of work that may be
/// interrupted.
///
/// While this object lives no other one writes the file, in this process or another (`flock`). Bytes
/// that are there are never changed, except that ``removeEnd(from:)`` takes off an end that its caller
/// has looked at.
package final class AppendedFile: Sendable {
  package let path: String
  private let file: OpenedFile
  private let isRegular: Bool

  /// Opens the file, or makes an empty one if there is none. Pipes and devices take lines and hold
  /// none.
  ///
  /// - Throws: ``FileError``: `.inUse` while another one writes it, and whatever keeps a file that is
  ///   there from being read and written.
  package init(path: String) throws(FileError) {
    self.path = path
    let status: FileStatus?
    do {
      status = try FileStatus(path: path)
    } catch {
      throw FileError(path, error.problem)
    }
    if let status, !status.isRegular {
      guard !status.isDirectory else { throw FileError(path, .notRegular(status.kind)) }
      file = try OpenedFile(path: path, flags: O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY)
      file.waitForData()
      isRegular = false
      return
    }
    do {
      file = try OpenedFile(
        path: path, flags: O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK, mode: 0o666)
    } catch {
      throw error.isNotFound ? FileError(path, .directory(ENOENT)) : error
    }
    isRegular = true
    // Some network file systems have no locks: two runs are then the user's care.
    if flock(file.descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
      throw FileError(path, .inUse)
    }
  }

  /// All bytes that are there.
  ///
  /// - Throws: ``FileError``, also for more than `limit` bytes.
  package func contents(limit: Int = 1 << 30) throws(FileError) -> [UInt8] {
    guard isRegular else { return [] }
    let status = try file.status()
    guard status.byteCount <= limit else {
      throw FileError(path, .tooLarge(bytes: status.byteCount, limit: limit))
    }
    guard lseek(file.descriptor, 0, SEEK_SET) == 0 else { throw FileError.last(path) }
    return try file.readToEnd(expected: status.byteCount, limit: limit)
  }

  /// Adds bytes at the end, in one write where the system takes them at once; they are on the disk
  /// when this returns. Of a write that fails nothing stays.
  package func append(_ bytes: [UInt8]) throws(FileError) {
    let end = isRegular ? try file.status().byteCount : 0
    let result = bytes.withUnsafeBytes { bytes in
      Result { () throws(FileError) in
        try file.writeAll(bytes)
        try file.synchronize()
      }
    }
    if case .failure(let error) = result {
      if isRegular { _ = ftruncate(file.descriptor, off_t(end)) }
      throw FileError(path, error.problem)
    }
  }

  /// Takes off everything from `offset` on: a line that was cut off.
  package func removeEnd(from offset: Int) throws(FileError) {
    guard isRegular else { return }
    guard ftruncate(file.descriptor, off_t(offset)) == 0 else { throw FileError.last(path) }
  }
}
