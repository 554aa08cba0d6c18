import StoredNumbers

/// A 64-bit hash (FNV-1a) that tells inputs apart; not meant to resist forgery.
package struct Fingerprint {
  package private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

  package init() {}

  package mutating func add(_ byte: UInt8) { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }

  package mutating func add(_ text: String) {
    for byte in text.utf8 { add(byte) }
    add(0xFF)
  }

  package mutating func add(_ ids: [Int32]) {
    for id in ids {
      for shift in [0, 8, 16, 24] { add(UInt8(truncatingIfNeeded: id >> Int32(shift))) }
    }
  }

  package mutating func add(_ bytes: UnsafeRawBufferPointer) {
    for byte in bytes { add(byte) }
  }

  /// Sixteen hexadecimal digits.
  package var text: String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  package static func of(_ text: String) -> String {
    var fingerprint = Fingerprint()
    fingerprint.add(text)
    return fingerprint.text
  }
}

extension WeightSource {
  /// A fingerprint of the weights: names, shapes, and of each tensor up to 16 KiB spread over it.
  /// Reads little, and tells checkpoints apart that differ by training.
  public func fingerprint() throws -> String {
    var fingerprint = Fingerprint()
    for name in tensorNames {
      let tensor = try tensor(named: name)
      fingerprint.add(name)
      fingerprint.add("\(tensor.shape) \(tensor.format.text)")
      let bytes = tensor.bytes
      let step = max(64, bytes.count / 256 / 64 * 64)
      for start in stride(from: 0, to: bytes.count, by: step) {
        fingerprint.add(
          UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + 64, bytes.count)]))
      }
    }
    return fingerprint.text
  }
}

extension TensorView.Format {
  /// Stable: saved conversations are told apart by it.
  fileprivate var text: String {
    switch self {
    case .dense(let element): "\(element)"
    case .blocks(let block): block.rawValue
    case .float8: "float8"
    }
  }
}
