import Files

/// Writes a cache's file, which takes its name once it is whole and is for its owner alone: it holds a
/// conversation.
final class CacheFileWriter {
  private let path: String
  private let file: FileReplacement
  private var checksum = Fingerprint()

  init(path: String) throws {
    self.path = path
    do {
      file = try FileReplacement(path: path, isPrivate: true)
    } catch {
      throw CacheFileError.unwritable(file: path, reason: error.reason)
    }
  }

  func write(_ bytes: UnsafeRawBufferPointer) throws {
    checksum.add(bytes)
    try put(bytes)
  }

  /// Adds the checksum and puts the file in its place.
  func finish() throws {
    try withUnsafeBytes(of: checksum.value.littleEndian) { try put($0) }
    do {
      try file.commit()
    } catch {
      throw CacheFileError.unwritable(file: path, reason: error.reason)
    }
  }

  private func put(_ bytes: UnsafeRawBufferPointer) throws {
    do {
      try file.write(bytes)
    } catch {
      throw CacheFileError.unwritable(file: path, reason: error.reason)
    }
  }
}

/// Reads a file from its beginning.
final class CacheFileReader {
  private let path: String
  private let file: FileReader
  var byteCount: Int { file.byteCount }

  init(path: String) throws {
    self.path = path
    do {
      file = try FileReader(path: path)
    } catch {
      if case .notRegular = error.problem { throw CacheFileError.foreign(file: path) }
      throw CacheFileError.unreadable(file: path, reason: error.reason)
    }
  }

  /// The next bytes; fewer only at the end.
  func read(_ count: Int) throws -> [UInt8] {
    do {
      return try file.read(count)
    } catch {
      throw CacheFileError.unreadable(file: path, reason: error.reason)
    }
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
    try seek(to: 0)
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
    try seek(to: offset)
  }

  private func seek(to offset: Int) throws {
    do {
      try file.seek(to: offset)
    } catch {
      throw CacheFileError.unreadable(file: path, reason: error.reason)
    }
  }
}
