import Checkpoints

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Writes a file beside its name, and gives it the name once it is whole.
final class CacheFileWriter {
  private let path: String
  private let draft: String
  private var file: UnsafeMutablePointer<FILE>?
  private var checksum = Fingerprint()

  init(path: String) throws {
    self.path = path
    draft = "\(path).\(getpid()).new"
    file = fopen(draft, "wb")
    if file == nil { throw unwritable() }
  }

  /// What was not finished leaves nothing behind.
  deinit {
    if let file {
      fclose(file)
      unlink(draft)
    }
  }

  func write(_ bytes: UnsafeRawBufferPointer) throws {
    checksum.add(bytes)
    try put(bytes)
  }

  /// Adds the checksum and puts the file in its place.
  func finish() throws {
    try withUnsafeBytes(of: checksum.value.littleEndian) { try put($0) }
    guard let file, fflush(file) == 0, fsync(fileno(file)) == 0 else { throw unwritable() }
    self.file = nil
    guard fclose(file) == 0, rename(draft, path) == 0 else {
      let error = unwritable()
      unlink(draft)
      throw error
    }
  }

  private func put(_ bytes: UnsafeRawBufferPointer) throws {
    guard let file, fwrite(bytes.baseAddress, 1, bytes.count, file) == bytes.count else {
      throw unwritable()
    }
  }

  private func unwritable() -> CacheFileError {
    .unwritable(file: path, reason: String(cString: strerror(errno)))
  }
}

/// Reads a file from its beginning.
final class CacheFileReader {
  private let path: String
  private let file: UnsafeMutablePointer<FILE>
  let byteCount: Int

  init(path: String) throws {
    self.path = path
    guard let file = fopen(path, "rb") else { throw Self.unreadable(path) }
    self.file = file
    var status = stat()
    guard fstat(fileno(file), &status) == 0 else {
      let error = Self.unreadable(path)
      fclose(file)
      throw error
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      fclose(file)
      throw CacheFileError.foreign(file: path)
    }
    byteCount = Int(status.st_size)
  }

  deinit { fclose(file) }

  /// The next bytes; fewer only at the end.
  func read(_ count: Int) throws -> [UInt8] {
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      filled = fread(buffer.baseAddress, 1, count, file)
    }
    guard bytes.count == count || ferror(file) == 0 else { throw Self.unreadable(path) }
    return bytes
  }

  /// The next bytes, all of them.
  func readAll(_ count: Int) throws -> [UInt8] {
    let bytes = try read(count)
    guard bytes.count == count else {
      throw CacheFileError.size(file: path, bytes: byteCount, wanted: byteCount + 1)
    }
    return bytes
  }

  /// Compares the whole file with the checksum at its end, and goes back to `offset`.
  func verifyChecksum(thenSeekTo offset: Int) throws {
    rewind(file)
    var checksum = Fingerprint()
    var rest = byteCount - 8
    while rest > 0 {
      let bytes = try readAll(min(rest, 1 << 20))
      bytes.withUnsafeBytes { checksum.add($0) }
      rest -= bytes.count
    }
    let found = try readAll(8).withUnsafeBytes {
      UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self))
    }
    guard found == checksum.value else { throw CacheFileError.checksum(file: path) }
    guard fseek(file, offset, SEEK_SET) == 0 else { throw Self.unreadable(path) }
  }

  private static func unreadable(_ path: String) -> CacheFileError {
    .unreadable(file: path, reason: String(cString: strerror(errno)))
  }
}
