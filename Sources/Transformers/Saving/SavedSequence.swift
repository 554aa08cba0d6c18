/// What the beginning of a cache's file says, read without its keys and values.
package struct SavedSequence: Sendable {
  /// Of the model that wrote it.
  package let fingerprint: String
  /// The ids at the positions that are kept, and one more if it was given out but not read.
  package let tokens: [Int32]
  package let byteCount: Int

  /// The checksum is not compared: `Transformer.restore` does that.
  ///
  /// - Throws: ``CacheFileError`` for a file that is none, is of another version, or is not whole.
  package init(contentsOfFile path: String) throws {
    let reader = try CacheFileReader(path: path)
    let header = try CacheFileHeader(reader.read(CacheFileHeader.byteCount), file: path)
    guard let wanted = header.fileByteCount, wanted == reader.byteCount else {
      throw CacheFileError.size(
        file: path, bytes: reader.byteCount, wanted: header.fileByteCount ?? Int.max)
    }
    let count = header.tokens
    tokens = try reader.readAll(4 * count).withUnsafeBytes { bytes in
      (0..<count).map {
        Int32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Int32.self))
      }
    }
    fingerprint = header.fingerprint
    byteCount = wanted
  }
}
