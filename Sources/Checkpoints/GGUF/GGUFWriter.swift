/// Makes small GGUF files, for tests and for models that this package writes itself.
package struct GGUFWriter {
  /// A metadata value with its type in the file.
  package enum Value {
    case uint32(UInt32)
    case uint64(UInt64)
    case float32(Float)
    case boolean(Bool)
    case string(String)
    case strings([String])
    case floats([Float])
    case int32s([Int32])
  }

  /// A tensor as it will lie in the file.
  package struct Tensor {
    package var name: String
    /// ggml's number of the type.
    package var type: UInt32
    /// Outermost dimension first.
    package var shape: [Int]
    package var bytes: [UInt8]

    package init(name: String, type: UInt32, shape: [Int], bytes: [UInt8]) {
      self.name = name
      self.type = type
      self.shape = shape
      self.bytes = bytes
    }
  }

  package var version: UInt32 = 3
  package var alignment = 32
  package var metadata: [(key: String, value: Value)]
  package var tensors: [Tensor]

  package init(metadata: [(key: String, value: Value)], tensors: [Tensor]) {
    self.metadata = metadata
    self.tensors = tensors
  }

  /// The whole file.
  package func fileBytes() -> [UInt8] {
    var output: [UInt8] = Array("GGUF".utf8)
    append(version, to: &output)
    append(UInt64(tensors.count), to: &output)
    append(UInt64(metadata.count), to: &output)
    for (key, value) in metadata {
      append(key, to: &output)
      append(value, to: &output)
    }
    var offset = 0
    for tensor in tensors {
      append(tensor.name, to: &output)
      append(UInt32(tensor.shape.count), to: &output)
      for extent in tensor.shape.reversed() { append(UInt64(extent), to: &output) }
      append(tensor.type, to: &output)
      append(UInt64(offset), to: &output)
      offset += padded(tensor.bytes.count)
    }
    output += [UInt8](repeating: 0, count: padded(output.count) - output.count)
    for tensor in tensors {
      output += tensor.bytes
      output += [UInt8](repeating: 0, count: padded(tensor.bytes.count) - tensor.bytes.count)
    }
    return output
  }

  private func padded(_ count: Int) -> Int { (count + alignment - 1) / alignment * alignment }

  private func append(_ word: some FixedWidthInteger, to output: inout [UInt8]) {
    withUnsafeBytes(of: word.littleEndian) { output.append(contentsOf: $0) }
  }

  private func append(_ text: String, to output: inout [UInt8]) {
    append(UInt64(text.utf8.count), to: &output)
    output += text.utf8
  }

  private func append(_ value: Value, to output: inout [UInt8]) {
    func begin(_ type: GGUFValueType) { append(type.rawValue, to: &output) }
    func beginArray(_ type: GGUFValueType, _ count: Int) {
      begin(.array)
      begin(type)
      append(UInt64(count), to: &output)
    }
    switch value {
    case .uint32(let number):
      begin(.uint32)
      append(number, to: &output)
    case .uint64(let number):
      begin(.uint64)
      append(number, to: &output)
    case .float32(let number):
      begin(.float32)
      append(number.bitPattern, to: &output)
    case .boolean(let boolean):
      begin(.boolean)
      output.append(boolean ? 1 : 0)
    case .string(let text):
      begin(.string)
      append(text, to: &output)
    case .strings(let texts):
      beginArray(.string, texts.count)
      for text in texts { append(text, to: &output) }
    case .floats(let numbers):
      beginArray(.float32, numbers.count)
      for number in numbers { append(number.bitPattern, to: &output) }
    case .int32s(let numbers):
      beginArray(.int32, numbers.count)
      for number in numbers { append(number, to: &output) }
    }
  }
}
