import CSystem

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A file mapped into memory for reading, for as long as this object lives.
///
/// The size is that of the moment the file was opened. If the file becomes shorter afterwards,
/// reading its lost pages raises SIGBUS; `csystem_install_sigbus_handler` makes one line of that.
package final class MappedFile: Sendable {
  package let path: String
  package let count: Int
  private let identity: FileIdentity
  /// Bit pattern of the address, nil for an empty file; an address alone is Sendable.
  private let address: UInt?

  package var bytes: UnsafeRawBufferPointer {
    guard let address else { return UnsafeRawBufferPointer(start: nil, count: 0) }
    return UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: address), count: count)
  }

  package init(path: String) throws(CheckpointError) {
    let file = try OpenFile(path: path)
    defer { file.close() }
    self.path = path
    count = file.count
    identity = file.identity
    guard count > 0 else {
      address = nil
      return
    }
    let start = mmap(nil, count, PROT_READ, MAP_PRIVATE, file.descriptor, 0)
    guard let start, start != UnsafeMutableRawPointer(bitPattern: -1) else {
      throw .unreadable(path: path, reason: lastSystemError())
    }
    address = UInt(bitPattern: start)
    _ = csystem_guard_mapping(start, count, path)
  }

  deinit {
    guard let address, let start = UnsafeMutableRawPointer(bitPattern: address) else { return }
    csystem_unguard_mapping(start)
    munmap(start, count)
  }

  /// Throws when the file at the path is still the mapped one but no longer as long. A file that
  /// was replaced leaves the mapping whole.
  package func verifyUnchanged() throws(CheckpointError) {
    var status = stat()
    guard stat(path, &status) == 0, FileIdentity(status) == identity else { return }
    guard Int(status.st_size) == count else {
      throw .changedWhileMapped(
        file: path, expectedBytes: count, foundBytes: Int(status.st_size))
    }
  }
}

/// Which file a path leads to.
private struct FileIdentity: Equatable {
  let device: UInt64
  let node: UInt64

  init(_ status: stat) {
    device = UInt64(truncatingIfNeeded: status.st_dev)
    node = UInt64(truncatingIfNeeded: status.st_ino)
  }
}

/// A regular file opened for reading.
private struct OpenFile {
  let descriptor: Int32
  let count: Int
  let identity: FileIdentity

  init(path: String) throws(CheckpointError) {
    // Without O_NONBLOCK a named pipe would wait for its writer for ever.
    descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      throw errno == ENOENT
        ? .unreadable(path: path, reason: "no such file")
        : .unreadable(path: path, reason: lastSystemError())
    }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      let reason = lastSystemError()
      _ = systemClose(descriptor)
      throw .unreadable(path: path, reason: reason)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      _ = systemClose(descriptor)
      throw .unreadable(path: path, reason: "not a regular file")
    }
    count = Int(status.st_size)
    identity = FileIdentity(status)
  }

  func close() { _ = systemClose(descriptor) }
}

private func systemClose(_ descriptor: Int32) -> Int32 { close(descriptor) }

private func lastSystemError() -> String { String(cString: strerror(errno)) }

/// The whole of a small file.
///
/// - Throws: `.unreadable`, also for a file of more than `limit` bytes.
package func readFile(
  at path: String, limit: Int = 256 << 20
) throws(CheckpointError) -> [UInt8] {
  let file = try OpenFile(path: path)
  defer { file.close() }
  guard file.count <= limit else {
    throw .unreadable(path: path, reason: "\(file.count) bytes, more than the \(limit) allowed")
  }
  var failed = false
  let bytes = [UInt8](unsafeUninitializedCapacity: file.count) { buffer, used in
    while used < buffer.count {
      let count = read(file.descriptor, buffer.baseAddress.map { $0 + used }, buffer.count - used)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else {
        failed = count < 0
        return
      }
      used += count
    }
  }
  if failed { throw .unreadable(path: path, reason: lastSystemError()) }
  return bytes
}

/// What a path leads to.
enum PathKind {
  case nothing, directory, other
}

func pathKind(_ path: String) throws(CheckpointError) -> PathKind {
  var status = stat()
  guard stat(path, &status) == 0 else {
    if errno == ENOENT || errno == ENOTDIR { return .nothing }
    throw .unreadable(path: path, reason: lastSystemError())
  }
  return status.st_mode & S_IFMT == S_IFDIR ? .directory : .other
}

/// Names of the entries of a directory but `.` and `..`, in ascending order.
func directoryEntries(_ path: String) throws(CheckpointError) -> [String] {
  guard let directory = opendir(path) else {
    throw .unreadable(path: path, reason: lastSystemError())
  }
  defer { closedir(directory) }
  guard let nameOffset = MemoryLayout<dirent>.offset(of: \.d_name) else { return [] }
  var names: [String] = []
  while let entry = readdir(directory) {
    // By its offset: an entry is shorter than `dirent`, so it must not be copied whole.
    let start = UnsafeRawPointer(entry) + nameOffset
    let name = String(cString: start.assumingMemoryBound(to: CChar.self))
    if name != "." && name != ".." { names.append(name) }
  }
  return names.sorted()
}
