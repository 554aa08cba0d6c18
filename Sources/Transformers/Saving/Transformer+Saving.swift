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
      let part = try part(holding: layer)
      try Self.withLayer(layer, of: sources) { opened in
        try writer.write(factorsOf: opened[0], header, backend: part.backend)
        for positions in blocks(of: count) {
          if isCancelled() { throw CancellationError() }
          for numbers in [\KeyValueLayer.keys, \KeyValueLayer.values] {
            var first = 0
            var elements: [Float] = []
            for (source, layer) in zip(sources, opened) {
              let rows = positions.clamped(to: first..<first + source.rows.count)
              let offset = source.rows.lowerBound - first
              if !rows.isEmpty {
                elements += try part.elements(
                  of: layer[keyPath: numbers],
                  at: rows.lowerBound + offset..<rows.upperBound + offset)
              }
              first += source.rows.count
            }
            try writer.write(elements, as: cache.type)
          }
        }
      }
    }
    try writer.finish()
  }

  /// Runs `body` with a layer of each source; a cache that several have is opened once.
  private static func withLayer(
    _ layer: Int, of sources: [CachedRows], opened: [KeyValueLayer] = [],
    body: ([KeyValueLayer]) throws -> Void
  ) throws {
    guard opened.count < sources.count else { return try body(opened) }
    let cache = sources[opened.count].cache
    if let before = sources[..<opened.count].firstIndex(where: { $0.cache === cache }) {
      return try withLayer(layer, of: sources, opened: opened + [opened[before]], body: body)
    }
    try cache.withLayer(layer, count: cache.count, for: .transfer) {
      try withLayer(layer, of: sources, opened: opened + [$0], body: body)
    }
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
      let part = try part(holding: layer)
      try cache.withLayer(layer, count: header.count, for: .transfer) { keysAndValues in
        try part.restoreFactors(of: keysAndValues, header, from: reader, file: file)
        for rows in blocks(of: header.count) {
          let keys = try reader.elements(rows.count * header.rowCount, as: header.type)
          let values = try reader.elements(rows.count * header.rowCount, as: header.type)
          try part.put(keys, values, rows, in: keysAndValues)
        }
      }
      try part.backend.finish()
    }
    cache.finishRestoring(count: header.count)
    return tokens
  }

  private func blocks(of count: Int) -> [Range<Int>] {
    stride(from: 0, to: count, by: CacheFileHeader.blockRows).map {
      $0..<min($0 + CacheFileHeader.blockRows, count)
    }
  }

  /// Positions of a cached tensor [heads, capacity, dim], as [position][head][dim].
  private func elements(of tensor: Tensor, at positions: Range<Int>) throws -> [Float] {
    let (heads, capacity, dim) = (tensor.shape[0], tensor.shape[1], tensor.shape[2])
    let rows = tensor.reshaped([heads * capacity, dim])
    var result = [Float](repeating: 0, count: positions.count * heads * dim)
    for head in 0..<heads {
      let first = head * capacity + positions.lowerBound
      let floats = try backend.read(rows.slice(rows: first..<first + positions.count))
      for row in 0..<positions.count {
        let target = (row * heads + head) * dim
        for element in 0..<dim { result[target + element] = floats[row * dim + element] }
      }
    }
    return result
  }

  /// Stores rows, [position][head][dim], as they were kept.
  private func put(
    _ keys: [Float], _ values: [Float], _ positions: Range<Int>, in layer: KeyValueLayer
  ) throws {
    let (heads, capacity, dim) = (
      layer.keys.shape[0], layer.keys.shape[1], layer.keys.shape[2]
    )
    guard layer.keys.type == .float8 else {
      let rows = try [keys, values].map { floats in
        let tensor = try backend.makeTensor(
          backend.activationType, [positions.count, heads, dim],
          purpose: "keys and values from a file")
        try backend.write(floats, to: tensor)
        return tensor
      }
      return try backend.store(
        k: rows[0], v: rows[1], in: layer, firstPosition: positions.lowerBound)
    }
    // What was divided by the factors once must not be again.
    for (floats, tensor) in [(keys, layer.keys), (values, layer.values)] {
      let cells = tensor.reshaped([heads * capacity, dim])
      for head in 0..<heads {
        let first = head * capacity + positions.lowerBound
        var own: [Float] = []
        for row in 0..<positions.count {
          let start = (row * heads + head) * dim
          own += floats[start..<start + dim]
        }
        try backend.write(own, to: cells.slice(rows: first..<first + positions.count))
      }
    }
  }

  private func restoreFactors(
    of layer: KeyValueLayer, _ header: CacheFileHeader, from reader: CacheFileReader, file: String
  ) throws {
    guard header.factorCount > 0 else { return }
    let factors = try reader.elements(header.factorCount, as: .float32)
    guard let scales = layer.scales, scales.count == factors.count,
      factors.allSatisfy({ $0.isFinite && $0 > 0 })
    else { throw CacheFileError.foreign(file: file) }
    try backend.write(factors, to: scales)
  }
}
