#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Files read as a whole, and what is known of a path without reading it.
package enum WholeFile {
  /// All bytes of the regular file at `path`.
  ///
  /// Directories, devices, sockets and named pipes are refused, links to them too: a file of an
  /// untrusted directory must neither wait for ever nor have no end.
  ///
  /// - Throws: ``FileError``, also for a file of more than `limit` bytes.
  package static func bytes(
    of path: String, limit: Int = 256 << 20
  ) throws(FileError) -> [UInt8] {
    // Without O_NONBLOCK a named pipe would wait for its writer for ever.
    let file = try OpenedFile(path: path, flags: O_RDONLY | O_NONBLOCK)
    let status = try file.status()
    guard status.isRegular else { throw FileError(path, .notRegular(status.kind)) }
    guard status.byteCount <= limit else {
      throw FileError(path, .tooLarge(bytes: status.byteCount, limit: limit))
    }
    return try file.readToEnd(expected: status.byteCount, limit: limit)
  }

  /// All bytes of what the user names: a regular file, or a pipe or device up to its end.
  ///
  /// Waits for a named pipe's writer, as process substitution needs it.
  ///
  /// - Throws: ``FileError``, also for a directory and for more than `limit` bytes.
  package static func bytesOrStream(
    of path: String, limit: Int = 1 << 30
  ) throws(FileError) -> [UInt8] {
    let file = try OpenedFile(path: path, flags: O_RDONLY)
    let status = try file.status()
    guard !status.isDirectory else { throw FileError(path, .notRegular(status.kind)) }
    if status.isRegular, status.byteCount > limit {
      throw FileError(path, .tooLarge(bytes: status.byteCount, limit: limit))
    }
    return try file.readToEnd(
      expected: status.isRegular ? status.byteCount : 1 << 16, limit: limit)
  }

  /// Whether there is anything at the path, links followed.
  package static func exists(_ path: String) -> Bool {
    SystemPath.with(path) { access($0, F_OK) } == 0
  }

  /// Whether what the path leads to can be read.
  package static func isReadable(_ path: String) -> Bool {
    SystemPath.with(path) { access($0, R_OK) } == 0
  }

  /// Whether the path leads to a directory.
  package static func isDirectory(_ path: String) -> Bool {
    var status = stat()
    let result = SystemPath.with(path) { stat($0, &status) }
    return result == 0 && FileStatus(status).isDirectory
  }

  /// Whether the path leads to a directory; nil where there is nothing.
  ///
  /// - Throws: ``FileError`` where the system does not say.
  package static func leadsToDirectory(_ path: String) throws(FileError) -> Bool? {
    do {
      return try FileStatus(path: path)?.isDirectory
    } catch {
      if error.problem == .system(ENOTDIR) { return nil }
      throw error
    }
  }

  /// Names of the entries of a directory but `.` and `..`, in the order of their bytes.
  ///
  /// - Throws: ``FileError``.
  package static func names(inDirectory path: String) throws(FileError) -> [String] {
    guard let directory = SystemPath.with(path, { opendir($0) }) else { throw FileError.last(path) }
    defer { closedir(directory) }
    guard let nameOffset = MemoryLayout<dirent>.offset(of: \.d_name) else { return [] }
    var names: [String] = []
    while let entry = readdir(directory) {
      // By its offset: an entry is shorter than `dirent`, so it must not be copied whole.
      let start = UnsafeRawPointer(entry) + nameOffset
      let name = SystemPath.text(of: start.assumingMemoryBound(to: CChar.self))
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  /// Removes a file if it is there.
  package static func remove(_ path: String) { _ = SystemPath.with(path) { unlink($0) } }
}
