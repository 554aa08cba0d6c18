import MInference

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Token by token, from caches of every format and place, and from a file.
extension ModelVerifier {
  /// Tokens at the end of the prompt that are read one by one.
  var decodedTokens: Int { ids.count <= 256 ? ids.count : 64 }

  func checkKeyValues() {
    let isHalf = device.backend.activationType == .bfloat16
    let types: [DataType] = isHalf ? [.bfloat16, .float8] : [.float32, .bfloat16]
    let hasHost = (try? device.backend.availableMemory()) != nil
    for type in types {
      let options = KeyValueOptions(type: type, place: .device)
      let name = "token by token, \(type.rawValue)"
      var onDevice: [Float] = []
      check("\(name) on the device", tolerance(of: type)) {
        onDevice = try decoded(options)
        return (onDevice, expected.suffix(onDevice.count), "")
      }
      let same = onDevice
      if hasHost, isHalf {
        check("\(name) on the host", .exact) {
          (try decoded(KeyValueOptions(type: type, place: .host)), same[...], "as on the device")
        }
        check("\(name) on the host, saved and restored", .exact) {
          (
            try decoded(KeyValueOptions(type: type, place: .host), changing: restored),
            same[...], "as if it had not been"
          )
        }
        check("\(name) on the host, by way of staging memory", .exact) {
          (
            try decoded(KeyValueOptions(type: type, place: .host), changing: copied),
            same[...], "as if it had not been"
          )
        }
      }
      check("\(name), saved and restored", .exact) {
        (try decoded(options, changing: restored), same[...], "as if it had not been")
      }
      check("\(name), by way of staging memory", .exact) {
        (try decoded(options, changing: copied), same[...], "as if it had not been")
      }
    }
  }

  /// What storing keys and values in a format may cost.
  private func tolerance(of type: DataType) -> LogitTolerance {
    if type == .float8 { return float8Tolerance }
    guard type == .bfloat16, tolerance == .float32 else { return tolerance }
    // Only the cache is rounded, and the reference can do the same.
    guard
      let rounded = try? Self.score(
        reference, ids, cache: Self.makeCache(reference, ids.count, KeyValueOptions(type: type)))
    else { return tolerance }
    return .rounding(.between(rounded, expected, width: width))
  }

  /// Logits from the last token read at once on: the rest is decoded.
  ///
  /// - Parameter change: Gives another cache to go on in, midway.
  private func decoded(
    _ options: KeyValueOptions,
    changing change: ((KeyValueCache, KeyValueOptions) throws -> KeyValueCache)? = nil
  ) throws -> [Float] {
    var cache = try Self.makeCache(device, ids.count, options)
    let first = ids.count - decodedTokens
    var logits: [Float] = []
    if first > 0 {
      logits = try device.prefill(Array(ids[..<first]), cache: cache).logits
    }
    for (number, id) in ids[first...].enumerated() {
      if let change, number == decodedTokens / 2, cache.count > 0 {
        cache = try change(cache, options)
      }
      logits += try device.decode(id, cache: cache)
    }
    return logits
  }

  /// Another cache with what this one holds, by way of a file.
  private func restored(
    _ cache: KeyValueCache, _ options: KeyValueOptions
  ) throws -> KeyValueCache {
    let folder = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    let file = "\(folder)/minference-verify-\(getpid())-\(UInt64.random(in: 0 ... .max))"
    defer { unlink(file) }
    let read = Array(ids[..<cache.count])
    // Any sixteen characters: the file is read back at once.
    let fingerprint = "verified model.."
    try device.save(cache, tokens: read, fingerprint: fingerprint, to: file)
    let other = try Self.makeCache(device, ids.count, options)
    let found = try device.restore(other, fingerprint: fingerprint, from: file)
    guard found == read else { throw CacheFileError.checksum(file: file) }
    return other
  }

  /// Another cache with what this one holds, by way of staging memory, in two parts as prefixes come from disk.
  private func copied(
    _ cache: KeyValueCache, _ options: KeyValueOptions
  ) throws -> KeyValueCache {
    let other = try Self.makeCache(device, ids.count, options)
    other.beginRestoring(sequenceLength: cache.sequenceLength ?? cache.count)
    let extents = cache.blockExtents
    // No multiple of what kernels work on at once.
    let blockPositions = 37
    let memories = try (0..<3).map { _ in
      try device.backend.makeStagingMemory(
        byteCount: blockPositions * extents.positionByteCount, purpose: "keys and values")
    }
    // Factors of float8 are those of the whole.
    let parts = options.type == .float8 ? [0, cache.count] : [0, cache.count / 3, cache.count]
    for (start, end) in zip(parts, parts.dropFirst()) where start < end {
      for layer in cache.layers {
        let source = try device.makeTransfer(
          layer: layer, of: cache, count: cache.count, for: .saving)
        let target = try device.makeTransfer(
          layer: layer, of: other, count: end, for: .restoring)
        if options.type == .float8 { try target.setFactors(source.factors()) }
        for (number, first) in stride(from: start, to: end, by: blockPositions).enumerated() {
          let positions = first..<min(first + blockPositions, end)
          let memory = memories[number % memories.count]
          try memory.wait()
          let block = KeyValueBlock(
            memory: memory, extents: extents, positions: positions.count)
          try source.save(positions, to: block, at: 0)
          try memory.wait()
          try target.restore(positions, from: block, at: 0)
        }
        try source.close()
        try target.close()
      }
      other.finishRestoring(count: end)
    }
    return other
  }
}
