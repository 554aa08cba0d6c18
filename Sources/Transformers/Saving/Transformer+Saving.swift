import Compute

extension Transformer {
  /// Writes a cache to a file, which is replaced as a whole or not at all.
  ///
  /// Numbers are written as they are kept, float32, bfloat16 or float8, wherever they lie. What static
  /// patterns remember of the prompt is not written.
  ///
  /// - Parameters:
  ///   - tokens: The ids at the cache's positions, and one more if it was given out but not read.
  ///   - fingerprint: Sixteen characters that tell this model from others.
  ///   - isCancelled: Asked before every block of positions; true ends the writing, and the file is as
  ///     before.
  /// - Throws: ``CacheFileError``, `ComputeError`, `CancellationError`.
  public func save(
    _ cache: KeyValueCache, tokens: [Int32], fingerprint: String, to file: String,
    isCancelled: () -> Bool = { false }
  ) throws {
    try save(
      [CachedRows(cache, rows: 0..<cache.count)], tokens: tokens, fingerprint: fingerprint,
      to: file, isCancelled: isCancelled)
  }

  /// The same of a sequence whose positions are in several caches.
  ///
  /// - Parameter sources: All positions in order, of caches that differ in their capacity alone.
  package func save(
    _ sources: [CachedRows], tokens: [Int32], fingerprint: String, to file: String,
    isCancelled: () -> Bool = { false }
  ) throws {
    let count = sources.reduce(0) { $0 + $1.rows.count }
    guard let cache = sources.first?.cache, count > 0, let sequenceLength = cache.sequenceLength
    else { throw CacheFileError.nothingToSave }
    guard CacheFileHeader.types.contains(cache.type) else {
      throw CacheFileError.unsupported(type: cache.type.rawValue)
    }
    guard tokens.count == count || tokens.count == count + 1, fingerprint.utf8.count == 16 else {
      throw TransformerError.foreignCache(
        detail: "it holds \(count) positions and \(tokens.count) tokens were given")
    }
    let header = CacheFileHeader(
      type: cache.type, fingerprint: fingerprint, layers: cache.layers.count,
      heads: cache.extents[0], headDim: cache.extents[2], sequenceLength: sequenceLength,
      count: count, tokens: tokens.count)
    let writer = try CacheFileWriter(path: file)
    try header.bytes.withUnsafeBytes(writer.write)
    try tokens.map(\.littleEndian).withUnsafeBytes(writer.write)
    for layer in cache.layers {
      // A cache that several sources have is opened once.
      var transfers: [ObjectIdentifier: any KeyValueTransfer] = [:]
      for source in sources where transfers[ObjectIdentifier(source.cache)] == nil {
        transfers[ObjectIdentifier(source.cache)] = try makeTransfer(
          layer: layer, of: source.cache, count: source.cache.count, for: .saving)
      }
      try writer.write(factors: transfers[ObjectIdentifier(cache)]?.factors() ?? [], header)
      for positions in blocks(of: count) {
        if isCancelled() { throw CancellationError() }
        var (keys, values): ([Float], [Float]) = ([], [])
        var first = 0
        for source in sources {
          let rows = positions.clamped(to: first..<first + source.rows.count)
          let offset = source.rows.lowerBound - first
          first += source.rows.count
          guard !rows.isEmpty, let transfer = transfers[ObjectIdentifier(source.cache)] else {
            continue
          }
          let found = try transfer.rows(
            at: rows.lowerBound + offset..<rows.upperBound + offset)
          keys += found.keys
          values += found.values
        }
        try writer.write(keys, as: cache.type)
        try writer.write(values, as: cache.type)
      }
      for transfer in transfers.values { try transfer.close() }
    }
    try writer.finish()
  }

  /// Fills a cache from a file, in place of what it holds.
  ///
  /// The file is checked as a whole before anything is changed.
  ///
  /// - Returns: The ids at the cache's positions, and one more if it was given out but not read.
  /// - Throws: ``CacheFileError``; `ComputeError`, after which the cache is empty.
  public func restore(
    _ cache: KeyValueCache, fingerprint: String, from file: String
  ) throws -> [Int32] {
    let reader = try CacheFileReader(path: file)
    let header = try CacheFileHeader(reader.read(CacheFileHeader.byteCount), file: file)
    guard header.fingerprint == fingerprint, header.layers == cache.layers.count,
      header.heads == cache.extents[0], header.headDim == cache.extents[2]
    else { throw CacheFileError.model(file: file) }
    guard header.type == cache.type else {
      throw CacheFileError.format(
        file: file, found: header.type.rawValue, wanted: cache.type.rawValue)
    }
    guard let bytes = header.fileByteCount, bytes == reader.byteCount else {
      throw CacheFileError.size(
        file: file, bytes: reader.byteCount, wanted: header.fileByteCount ?? Int.max)
    }
    guard header.tokens <= cache.capacity else {
      throw CacheFileError.tooLong(file: file, tokens: header.tokens, capacity: cache.capacity)
    }
    try reader.verifyChecksum(thenSeekTo: CacheFileHeader.byteCount)
    let tokens = try reader.readAll(4 * header.tokens).withUnsafeBytes { bytes in
      (0..<header.tokens).map {
        Int32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Int32.self))
      }
    }
    guard tokens.allSatisfy({ $0 >= 0 && Int($0) < vocabularySize }) else {
      throw CacheFileError.model(file: file)
    }
    cache.beginRestoring(sequenceLength: header.sequenceLength)
    for layer in cache.layers {
      let transfer = try makeTransfer(
        layer: layer, of: cache, count: header.count, for: .restoring)
      if header.factorCount > 0 {
        let factors = try reader.elements(header.factorCount, as: .float32)
        guard factors.allSatisfy({ $0.isFinite && $0 > 0 }) else {
          throw CacheFileError.foreign(file: file)
        }
        try transfer.setFactors(factors)
      }
      for rows in blocks(of: header.count) {
        let keys = try reader.elements(rows.count * header.rowCount, as: header.type)
        let values = try reader.elements(rows.count * header.rowCount, as: header.type)
        try transfer.setRows(at: rows, keys: keys, values: values)
      }
      try transfer.close()
    }
    cache.finishRestoring(count: header.count)
    return tokens
  }

  private func blocks(of count: Int) -> [Range<Int>] {
    stride(from: 0, to: count, by: CacheFileHeader.blockRows).map {
      $0..<min($0 + CacheFileHeader.blockRows, count)
    }
  }
}
