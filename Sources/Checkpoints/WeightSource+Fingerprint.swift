import Files
import JSON
import StoredNumbers

extension WeightSource {
  /// A fingerprint of the weights of these names, in ascending order: names, shapes, and of each tensor
  /// up to 16 KiB spread over it. Reads little, and tells checkpoints apart that differ by training.
  public func fingerprint(of names: [String]) throws -> String {
    var fingerprint = Fingerprint()
    for name in names.sorted(by: { ByteString($0) < ByteString($1) }) {
      let tensor = try tensor(named: name)
      fingerprint.add(name)
      fingerprint.add("\(tensor.shape) \(tensor.format.text)")
      let bytes = tensor.storedBytes
      let step = max(64, bytes.count / 256 / 64 * 64)
      for start in stride(from: 0, to: bytes.count, by: step) {
        fingerprint.add(
          UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + 64, bytes.count)]))
      }
    }
    return fingerprint.text
  }
}

extension WeightSource {
  /// The formats that matrices of these names are stored in.
  package func matrixFormats(of names: [String]) throws -> Set<TensorView.Format> {
    var formats: Set<TensorView.Format> = []
    for name in names {
      let tensor = try tensor(named: name)
      if tensor.shape.count > 1 { formats.insert(tensor.format) }
    }
    return formats
  }
}

extension TensorView.Format {
  /// Stable: saved conversations are identified by it.
  fileprivate var text: String {
    switch self {
    case .dense(.float32): "float32"
    case .dense(.float16): "float16"
    case .dense(.bfloat16): "bfloat16"
    case .blocks(let block): block.rawValue
    case .float8: "float8"
    }
  }
}
