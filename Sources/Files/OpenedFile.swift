#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A descriptor that is closed when the last reference to it goes.
final class OpenedFile: Sendable {
  let path: String
  let descriptor: Int32

  init(path: String, descriptor: Int32) {
    self.path = path
    self.descriptor = descriptor
  }

  /// Opens a file. `O_CLOEXEC` is always set.
  ///
  /// - Throws: ``FileError``.
  convenience init(path: String, flags: Int32, mode: mode_t = 0) throws(FileError) {
    var descriptor: Int32
    repeat {
      descriptor = SystemPath.with(path) { open($0, flags | O_CLOEXEC, mode) }
    } while descriptor < 0 && errno == EINTR
    guard descriptor >= 0 else { throw FileError.last(path) }
    self.init(path: path, descriptor: descriptor)
  }

  deinit { _ = close(descriptor) }

  func status() throws(FileError) -> FileStatus {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw FileError.last(path) }
    return FileStatus(status)
  }

  /// Waits again for what reads or writes, after it was opened with `O_NONBLOCK`.
  func waitForData() {
    let flags = fcntl(descriptor, F_GETFL)
    if flags >= 0 { _ = fcntl(descriptor, F_SETFL, flags & ~O_NONBLOCK) }
  }

  /// Reads up to `limit` bytes from here on, to the end of the file.
  ///
  /// - Parameter expected: Bytes that are made room for at first.
  /// - Throws: ``FileError``, also where the end is not reached within `limit`.
  func readToEnd(expected: Int, limit: Int) throws(FileError) -> [UInt8] {
    var bytes: [UInt8] = []
    var size = min(expected, limit) + 1
    while true {
      let part = try read(size)
      if bytes.isEmpty { bytes = part } else { bytes += part }
      guard bytes.count <= limit else {
        throw FileError(path, .tooLarge(bytes: nil, limit: limit))
      }
      if part.count < size { return bytes }
      size = min(1 << 20, limit - bytes.count + 1)
    }
  }

  /// The next bytes; fewer only at the end.
  func read(_ size: Int) throws(FileError) -> [UInt8] {
    var failure: Int32 = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, used in
      while used < buffer.count, let start = buffer.baseAddress {
        let count = systemRead(descriptor, start + used, buffer.count - used)
        if count < 0 && errno == EINTR { continue }
        if count < 0 { failure = errno }
        if count <= 0 { return }
        used += count
      }
    }
    guard failure == 0 else { throw FileError(path, .system(failure)) }
    return bytes
  }

  /// Writes all bytes.
  func writeAll(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let part = UnsafeRawBufferPointer(rebasing: rest)
      let count = write(descriptor, part.baseAddress, part.count)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw FileError.last(path) }
      rest = rest.dropFirst(count)
    }
  }

  /// Returns when the bytes are on the disk; devices and pipes have none.
  func synchronize() throws(FileError) {
    guard fsync(descriptor) == 0 || errno == EINVAL || errno == ENOTSUP || errno == EROFS else {
      throw FileError.last(path)
    }
  }
}

// The names are taken by the methods above.
private func systemRead(_ descriptor: Int32, _ start: UnsafeMutableRawPointer, _ count: Int) -> Int
{
  read(descriptor, start, count)
}

/// Metadata of a file (`stat`).
struct FileStatus {
  let status: stat

  init(_ status: stat) { self.status = status }

  /// Of what the path leads to, links followed; nil where there is nothing.
  init?(path: String) throws(FileError) {
    var status = stat()
    let result = SystemPath.with(path) { stat($0, &status) }
    guard result == 0 else {
      if errno == ENOENT { return nil }
      throw FileError.last(path)
    }
    self.init(status)
  }

  private var format: mode_t { status.st_mode & S_IFMT }

  var isRegular: Bool { format == S_IFREG }
  var isDirectory: Bool { format == S_IFDIR }
  var byteCount: Int { Int(status.st_size) }
  /// The permission bits.
  var mode: mode_t { status.st_mode & 0o7777 }

  /// The kind with its article, for messages.
  var kind: String {
    switch format {
    case S_IFREG: "a regular file"
    case S_IFDIR: "a directory"
    case S_IFIFO: "a named pipe"
    case S_IFSOCK: "a socket"
    default: "a device"
    }
  }

  /// Whether both are the same file.
  func isSameFile(as other: FileStatus) -> Bool {
    status.st_dev == other.status.st_dev && status.st_ino == other.status.st_ino
  }

  /// Seconds and nanoseconds of the last change of its contents.
  var modified: (Int, Int) {
    #if canImport(Darwin)
      (Int(status.st_mtimespec.tv_sec), Int(status.st_mtimespec.tv_nsec))
    #else
      (Int(status.st_mtim.tv_sec), Int(status.st_mtim.tv_nsec))
    #endif
  }
}
