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
            try decoded(KeyValueOptions(type: type, place: .host), savesMidway: true), same[...],
            "as if it had not been"
          )
        }
      }
      check("\(name), saved and restored", .exact) {
        (try decoded(options, savesMidway: true), same[...], "as if it had not been")
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
  private func decoded(
    _ options: KeyValueOptions, savesMidway: Bool = false
  ) throws -> [Float] {
    var cache = try Self.makeCache(device, ids.count, options)
    let first = ids.count - decodedTokens
    var logits: [Float] = []
    if first > 0 {
      logits = try device.prefill(Array(ids[..<first]), cache: cache).logits
    }
    for (number, id) in ids[first...].enumerated() {
      if savesMidway, number == decodedTokens / 2, cache.count > 0 {
        cache = try restored(cache, options)
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
}
