#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

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
        case .bfloat16: append(SafetensorsWriter.bfloat16(float), to: &bytes)
        case .float16: append(SafetensorsWriter.binary16(float), to: &bytes)
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
    guard let file = fopen(path, "wb") else {
      throw .unreadable(path: path, reason: String(cString: strerror(errno)))
    }
    let written = fwrite(bytes, 1, bytes.count, file)
    guard fclose(file) == 0, written == bytes.count else {
      throw .unreadable(path: path, reason: String(cString: strerror(errno)))
    }
  }

  /// `text` as a JSON string.
  private static func literal(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\u{0}"..<" ":
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }

  package static func bfloat16(_ value: Float) -> UInt16 {
    guard !value.isNaN else { return 0x7FC0 }
    let bits = value.bitPattern
    return UInt16((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
  }

  package static func binary16(_ value: Float) -> UInt16 {
    let sign: UInt16 = value.sign == .minus ? 0x8000 : 0
    let magnitude = value.magnitude
    guard !value.isNaN else { return 0x7E00 }
    guard magnitude < 65520 else { return sign | 0x7C00 }
    if magnitude < 0x1p-14 {
      return sign | UInt16((magnitude * 0x1p24).rounded(.toNearestOrEven))
    }
    let bits = magnitude.bitPattern
    let rounded = bits + 0xFFF + (bits >> 13 & 1)
    return sign | UInt16(rounded >> 13 &- 112 << 10)
  }
}

private func append(_ word: some FixedWidthInteger, to bytes: inout [UInt8]) {
  withUnsafeBytes(of: word.littleEndian) { bytes.append(contentsOf: $0) }
}
