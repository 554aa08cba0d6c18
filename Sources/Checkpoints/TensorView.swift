import Files
import StoredNumbers

/// A tensor of a checkpoint where it lies in the mapped file, row-major. Nothing is copied.
///
/// The view keeps its file mapped: `bytes` is valid for as long as this value, or the `Checkpoint`
/// or `SafetensorsFile` that it came from, lives.
public struct TensorView: Sendable {
  public let name: String
  public let elementType: ElementType
  /// Outermost dimension first; a linear layer's weight is `[outputs, inputs]`.
  public let shape: [Int]
  private let mapping: MappedFile
  private let range: Range<Int>

  init(
    name: String, elementType: ElementType, shape: [Int], mapping: MappedFile, range: Range<Int>
  ) {
    self.name = name
    self.elementType = elementType
    self.shape = shape
    self.mapping = mapping
    self.range = range
  }

  /// The file that holds the tensor.
  public var file: String { mapping.path }

  /// Product of the shape.
  public var count: Int { range.count / elementType.byteCount }

  /// `count` elements, little endian, aligned to `elementType.byteCount`.
  public var bytes: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: mapping.bytes[range])
  }
}

extension TensorView {
  /// Every element as Float, exactly. The plain reference of every conversion; backends have their
  /// own fast ones.
  public func floats() -> [Float] {
    let bytes = bytes
    return [Float](unsafeUninitializedCapacity: count) { buffer, used in
      for index in 0..<buffer.count {
        let value: Float
        switch elementType {
        case .float32:
          value = Float(bitPattern: word(bytes, at: index, as: UInt32.self))
        case .float16:
          value = Float(float16Bits: word(bytes, at: index, as: UInt16.self))
        case .bfloat16:
          value = Float(bfloat16Bits: word(bytes, at: index, as: UInt16.self))
        }
        buffer.initializeElement(at: index, to: value)
      }
      used = buffer.count
    }
  }

  /// Index of the first element that is NaN or infinite, nil when all are finite. Reads the whole
  /// tensor at about the speed of memory.
  public func firstNonFiniteIndex() -> Int? {
    // All ones in the exponent is NaN or infinity in each of the three formats.
    switch elementType {
    case .float32: firstIndex(withBits: UInt32(0x7F80_0000))
    case .float16: firstIndex(withBits: UInt16(0x7C00))
    case .bfloat16: firstIndex(withBits: UInt16(0x7F80))
    }
  }

  private func word<Word: FixedWidthInteger & BitwiseCopyable>(
    _ bytes: UnsafeRawBufferPointer, at index: Int, as type: Word.Type
  ) -> Word {
    Word(littleEndian: bytes.load(fromByteOffset: index * MemoryLayout<Word>.size, as: type))
  }

  private func firstIndex<Word: FixedWidthInteger & BitwiseCopyable>(
    withBits mask: Word
  ) -> Int? {
    let words = bytes.bindMemory(to: Word.self)
    let mask = mask.littleEndian
    let block = 4096
    var start = 0
    while start < words.count {
      let end = Swift.min(start + block, words.count)
      // Without a branch inside, this loop becomes vector code.
      var found: Word = 0
      for index in start..<end { found |= words[index] & mask == mask ? 1 : 0 }
      if found != 0 { return (start..<end).first { words[$0] & mask == mask } }
      start = end
    }
    return nil
  }
}
