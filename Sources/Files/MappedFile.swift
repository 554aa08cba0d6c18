import CSystemCalls

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A regular file mapped into memory for reading, for as long as this object lives.
///
/// The size is that of the moment the file was opened. If the file becomes shorter afterwards,
/// reading its lost pages raises SIGBUS; `csystem_install_sigbus_handler` makes one line of that.
package final class MappedFile: Sendable {
  package let path: String
  package let count: Int
  private let opened: OpenedStatus
  /// Bit pattern of the address, nil for an empty file; an address alone is Sendable.
  private let address: UInt?

  /// What has to stay as it was.
  private struct OpenedStatus: @unchecked Sendable {
    let status: FileStatus
  }

  package var bytes: UnsafeRawBufferPointer {
    guard let address else { return UnsafeRawBufferPointer(start: nil, count: 0) }
    return UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: address), count: count)
  }

  /// - Throws: ``FileError``, also for what is no regular file.
  package init(path: String) throws(FileError) {
    // Without O_NONBLOCK a named pipe would wait for its writer for ever.
    let file = try OpenedFile(path: path, flags: O_RDONLY | O_NONBLOCK)
    let status = try file.status()
    guard status.isRegular else { throw FileError(path, .notRegular(status.kind)) }
    self.path = path
    count = status.byteCount
    opened = OpenedStatus(status: status)
    guard count > 0 else {
      address = nil
      return
    }
    let start = mmap(nil, count, PROT_READ, MAP_PRIVATE, file.descriptor, 0)
    guard let start, start != UnsafeMutableRawPointer(bitPattern: -1) else {
      throw FileError.last(path)
    }
    address = UInt(bitPattern: start)
    _ = csystem_guard_mapping(start, count, path)
  }

  deinit {
    guard let address, let start = UnsafeMutableRawPointer(bitPattern: address) else { return }
    csystem_unguard_mapping(start)
    munmap(start, count)
  }

  /// Throws `.changed` when the file at the path is still the mapped one but was written to since: it
  /// has another length or a later time of change. A file that was replaced leaves the mapping whole.
  package func verifyUnchanged() throws(FileError) {
    guard let status = try? FileStatus(path: path), status.isSameFile(as: opened.status) else {
      return
    }
    guard status.byteCount == count, status.modified == opened.status.modified else {
      throw FileError(path, .changed(expectedBytes: count, foundBytes: status.byteCount))
    }
  }
}
