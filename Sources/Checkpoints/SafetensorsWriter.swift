import Files
import JSON
import StoredNumbers

/// Makes small safetensors files, for tests and for what this package writes itself.
package enum SafetensorsWriter {
  /// A tensor as it will stand in the file.
  package struct Tensor: Sendable {
    package let name: String
    /// As safetensors spells it: `F32`, `BF16`, `I64`, ...
    package let storedType: String
    package let shape: [Int]
    /// Little endian, row-major.
    package let bytes: [UInt8]

    package init(name: String, storedType: String, shape: [Int], bytes: [UInt8]) {
      self.name = name
      self.storedType = storedType
      self.shape = shape
      self.bytes = bytes
    }

    /// `floats` rounded to `elementType`, to nearest, ties to even.
    package init(
      name: String, shape: [Int], floats: [Float], as elementType: ElementType = .float32
    ) {
      var bytes: [UInt8] = []
      bytes.reserveCapacity(floats.count * elementType.byteCount)
      for float in floats {
        let bits = float.bitPattern
        switch elementType {
        case .float32: append(bits, to: &bytes)
        case .bfloat16: append(float.bfloat16Bits, to: &bytes)
        case .float16: append(float.float16Bits, to: &bytes)
        }
      }
      self.init(name: name, storedType: elementType.rawValue, shape: shape, bytes: bytes)
    }
  }

  /// The bytes of a file that holds `tensors` in this order. The header is padded so that the data
  /// begins at a multiple of 8. Shapes and bytes are written as given, whether or not they agree.
  package static func fileBytes(
    _ tensors: [Tensor], metadata: [(key: String, value: String)] = []
  ) -> [UInt8] {
    var members: [String] = []
    if !metadata.isEmpty {
      let pairs = metadata.map { "\(literal($0.key)):\(literal($0.value))" }
      members.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
    }
    var offset = 0
    for tensor in tensors {
      let end = offset + tensor.bytes.count
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      members.append(
        "\(literal(tensor.name)):{\"dtype\":\(literal(tensor.storedType)),\"shape\":[\(shape)],"
          + "\"data_offsets\":[\(offset),\(end)]}")
      offset = end
    }
    return fileBytes(
      header: "{\(members.joined(separator: ","))}", data: tensors.flatMap(\.bytes))
  }

  /// The bytes of a file with this header, whatever it says.
  package static func fileBytes(header: String, data: [UInt8]) -> [UInt8] {
    var text = Array(header.utf8)
    while text.count % 8 != 0 { text.append(UInt8(ascii: " ")) }
    var bytes: [UInt8] = []
    append(UInt64(text.count), to: &bytes)
    return bytes + text + data
  }

  /// Writes `tensors` to a new file at `path`, or over the old one.
  package static func write(
    _ tensors: [Tensor], metadata: [(key: String, value: String)] = [], to path: String
  ) throws(CheckpointError) {
    try write(bytes: fileBytes(tensors, metadata: metadata), to: path)
  }

  /// Writes `bytes` to a new file at `path`, or over the old one.
  package static func write(bytes: [UInt8], to path: String) throws(CheckpointError) {
    let result = bytes.withUnsafeBytes { bytes in
      Result { () throws(FileError) in
        try FileReplacement.write(bytes, to: path, isDurable: false)
      }
    }
    if case .failure(let error) = result { throw CheckpointError(error) }
  }

  private static func literal(_ text: String) -> String {
    JSONValue.string(text).serialized()
  }
}

private func append(_ word: some FixedWidthInteger, to bytes: inout [UInt8]) {
  withUnsafeBytes(of: word.littleEndian) { bytes.append(contentsOf: $0) }
}
