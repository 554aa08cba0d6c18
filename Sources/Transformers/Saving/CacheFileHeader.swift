import Compute

/// The beginning of a cache's file, and its layout.
///
/// All numbers are little endian:
///
/// | bytes | what |
/// |---|---|
/// | 8 | "minfkeys" |
/// | 4 | format version |
/// | 4 | number format: 0 float32, 1 bfloat16, 2 float8 (e4m3) |
/// | 16 | the model's fingerprint, hexadecimal digits |
/// | 3 x 4 | layers, key-value heads, head dimension |
/// | 4 | zero |
/// | 8 | length that decided the rotary frequencies |
/// | 8 | positions that are kept |
/// | 8 | token ids |
/// | 4 each | the token ids: those of the positions, and a last one if it was not read yet |
/// | ... | of each layer of float8: float32 factors, one a head, of the keys, then of the values |
/// | ... | and of each layer, for every ``blockRows`` positions: keys, then values, [position][head][dim] |
/// | 8 | FNV-1a of everything before |
struct CacheFileHeader: Equatable {
  static let magic = Array("minfkeys".utf8)
  static let version = 2
  static let byteCount = 72
  /// Number formats in the order of their numbers.
  static let types: [DataType] = [.float32, .bfloat16, .float8]
  /// Positions whose keys stand before their values.
  static let blockRows = 1024

  var type: DataType
  var fingerprint: String
  var layers: Int
  var heads: Int
  var headDim: Int
  var sequenceLength: Int
  var count: Int
  var tokens: Int

  /// Numbers of a position's keys.
  var rowCount: Int { heads * headDim }

  /// Factors of a layer; float8 alone has them.
  var factorCount: Int { type == .float8 ? 2 * heads : 0 }

  /// The whole file's size; nil where it is beyond what can be counted.
  var fileByteCount: Int? {
    var product = 2 * type.byteCount
    for factor in [layers, heads, headDim, count] {
      let (next, overflows) = product.multipliedReportingOverflow(by: factor)
      guard !overflows else { return nil }
      product = next
    }
    let (ids, overflows) = tokens.multipliedReportingOverflow(by: 4)
    let (sum, sumOverflows) = ids.addingReportingOverflow(product)
    // Of numbers that went into the product.
    let factors = layers &* factorCount &* 4
    let (all, allOverflows) = sum.addingReportingOverflow(Self.byteCount + 8 + factors)
    return overflows || sumOverflows || allOverflows ? nil : all
  }

  var bytes: [UInt8] {
    var bytes = Self.magic
    func add<Number: FixedWidthInteger>(_ number: Number) {
      withUnsafeBytes(of: number.littleEndian) { bytes += $0 }
    }
    add(UInt32(Self.version))
    add(UInt32(Self.types.firstIndex(of: type) ?? 0))
    bytes += fingerprint.utf8
    for number in [layers, heads, headDim, 0] { add(UInt32(number)) }
    for number in [sequenceLength, count, tokens] { add(UInt64(number)) }
    return bytes
  }

  init(
    type: DataType, fingerprint: String, layers: Int, heads: Int, headDim: Int,
    sequenceLength: Int, count: Int, tokens: Int
  ) {
    self.type = type
    self.fingerprint = fingerprint
    self.layers = layers
    self.heads = heads
    self.headDim = headDim
    self.sequenceLength = sequenceLength
    self.count = count
    self.tokens = tokens
  }

  /// - Throws: ``CacheFileError``.
  init(_ bytes: [UInt8], file: String) throws {
    guard bytes.count == Self.byteCount, bytes.starts(with: Self.magic) else {
      throw CacheFileError.foreign(file: file)
    }
    func number<Number: FixedWidthInteger>(_: Number.Type, at offset: Int) -> Number {
      bytes.withUnsafeBytes {
        Number(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Number.self))
      }
    }
    let version = Int(number(UInt32.self, at: 8))
    guard version == Self.version else {
      throw CacheFileError.version(file: file, found: version, known: Self.version)
    }
    let format = number(UInt32.self, at: 12)
    guard Self.types.indices.contains(Int(format)) else {
      throw CacheFileError.foreign(file: file)
    }
    type = Self.types[Int(format)]
    fingerprint = String(decoding: bytes[16..<32], as: UTF8.self)
    layers = Int(number(UInt32.self, at: 32))
    heads = Int(number(UInt32.self, at: 36))
    headDim = Int(number(UInt32.self, at: 40))
    let counts = [48, 56, 64].map { number(UInt64.self, at: $0) }
    guard counts.allSatisfy({ $0 <= UInt64(UInt32.max) }) else {
      throw CacheFileError.foreign(file: file)
    }
    (sequenceLength, count, tokens) = (Int(counts[0]), Int(counts[1]), Int(counts[2]))
    guard count > 0, tokens == count || tokens == count + 1, sequenceLength > 0 else {
      throw CacheFileError.foreign(file: file)
    }
  }
}
