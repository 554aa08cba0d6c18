import Files
public import StoredNumbers
internal import Synchronization

/// A tensor of a model where it lies in its file, row-major. Nothing is copied, but for rows that a file
/// has in another order.
///
/// ``bytes`` is valid for as long as ``owner`` lives, which this value keeps alive.
public struct TensorView: Sendable {
  /// How elements are stored.
  public enum Format: Hashable, Sendable {
    /// One after the other.
    case dense(ElementType)
    /// Integers in blocks with scales of their own. A row is a whole number of blocks.
    case blocks(BlockFormat)
    /// Eight bits, four of them exponent (E4M3, no infinity), times ``TensorView/scales``.
    case float8
  }

  /// What the elements of a matrix of ``Format/float8`` are multiplied with.
  public struct Scales: Sendable {
    /// One for each block, row-major.
    public let values: [Float]
    /// Elements of a block; blocks at the edges may be cut off.
    public let rows: Int
    public let columns: Int
  }

  public let name: String
  public let format: Format
  /// Outermost dimension first; a linear layer's weight is `[outputs, inputs]`.
  public let shape: [Int]
  /// The file that holds the tensor.
  public let file: String
  /// Of ``Format/float8`` alone.
  public internal(set) var scales: Scales?
  private let storage: any ByteStorage
  private let range: Range<Int>

  init(
    name: String, format: Format, shape: [Int], file: String, storage: any ByteStorage,
    range: Range<Int>
  ) {
    self.name = name
    self.format = format
    self.shape = shape
    self.file = file
    self.storage = storage
    self.range = range
  }

  /// Product of the shape.
  public var count: Int { shape.reduce(1, *) }

  /// What keeps ``bytes`` in place.
  public var owner: any AnyObject & Sendable { storage }

  /// The elements as they are stored, little endian. Dense ones are aligned to their size.
  public var bytes: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: storage.bytes[range])
  }

  /// Bytes of all elements.
  public var byteCount: Int { range.count }

  /// The elements as the file has them, at whatever address: nothing is copied.
  var storedBytes: UnsafeRawBufferPointer {
    (storage as? AlignedCopy)?.stored ?? (storage as? ConvertedBytes)?.stored() ?? bytes
  }

  /// A tensor that is made of this one's bytes when ``bytes`` is first used.
  func converted(
    name: String, format: Format, shape: [Int], byteCount: Int,
    convert:
      @escaping @Sendable (
        _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer
      ) -> Void
  ) -> TensorView {
    TensorView(
      name: name, format: format, shape: shape, file: file,
      storage: ConvertedBytes(byteCount: byteCount, stored: { self.storedBytes }) {
        convert(self.bytes, $0)
      }, range: 0..<byteCount)
  }

  /// The tensor at an address that fits its elements. It is copied when ``bytes`` is first used.
  func aligned() -> TensorView {
    TensorView(
      name: name, format: format, shape: shape, file: file,
      storage: AlignedCopy(of: storage, range), range: 0..<range.count)
  }

  /// The tensor with rows in another order; row r is this tensor's row `order(r)`. Rows are moved as they
  /// are stored, so blocks stay as they are. They are copied when ``bytes`` is first used.
  func gatheringRows(_ order: @escaping @Sendable (Int) -> Int) -> TensorView {
    let rows = GatheredRows(of: self, order: order)
    return TensorView(
      name: name, format: format, shape: shape, file: file, storage: rows, range: 0..<range.count)
  }
}

/// Memory that tensors lie in.
protocol ByteStorage: AnyObject, Sendable {
  /// Valid for as long as this object lives.
  var bytes: UnsafeRawBufferPointer { get }
}

extension MappedFile: ByteStorage {}

/// Bytes of a file that lie at an address which does not fit their elements, copied when they are first
/// asked for. Kernels and devices read words, and a word has to be aligned.
private final class AlignedCopy: ByteStorage {
  private let source: any ByteStorage
  private let range: Range<Int>
  /// Bit pattern of the copy's address, nil before there is one; an address alone is Sendable.
  private let address = Mutex<UInt?>(nil)

  init(of source: any ByteStorage, _ range: Range<Int>) {
    self.source = source
    self.range = range
  }

  deinit {
    if let address = address.withLock({ $0 }) {
      UnsafeMutableRawPointer(bitPattern: address)?.deallocate()
    }
  }

  var stored: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: source.bytes[range]) }

  var bytes: UnsafeRawBufferPointer {
    let copy = address.withLock { address -> UInt in
      if let address { return address }
      let made = UnsafeMutableRawBufferPointer.allocate(
        byteCount: max(range.count, 1), alignment: 64)
      made.copyMemory(from: stored)
      let bits = UInt(bitPattern: made.baseAddress)
      address = bits
      return bits
    }
    return UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: copy), count: range.count)
  }
}

/// Bytes that are made of a file's when they are first asked for.
final class ConvertedBytes: ByteStorage {
  private let byteCount: Int
  /// What they are made of, as the file has it.
  let stored: @Sendable () -> UnsafeRawBufferPointer
  private let convert: @Sendable (UnsafeMutableRawBufferPointer) -> Void
  /// Bit pattern of their address, nil before there is one; an address alone is Sendable.
  private let address = Mutex<UInt?>(nil)

  init(
    byteCount: Int, stored: @escaping @Sendable () -> UnsafeRawBufferPointer,
    convert: @escaping @Sendable (UnsafeMutableRawBufferPointer) -> Void
  ) {
    self.byteCount = byteCount
    self.stored = stored
    self.convert = convert
  }

  deinit {
    if let address = address.withLock({ $0 }) {
      UnsafeMutableRawPointer(bitPattern: address)?.deallocate()
    }
  }

  var bytes: UnsafeRawBufferPointer {
    let made = address.withLock { address -> UInt in
      if let address { return address }
      let memory = UnsafeMutableRawBufferPointer.allocate(
        byteCount: max(byteCount, 1), alignment: 64)
      convert(UnsafeMutableRawBufferPointer(rebasing: memory[..<byteCount]))
      let bits = UInt(bitPattern: memory.baseAddress)
      address = bits
      return bits
    }
    return UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: made), count: byteCount)
  }
}

/// A tensor of bytes, which are no numbers by themselves, where it lies in its file.
struct StoredBytes: Sendable {
  let name: String
  let shape: [Int]
  let file: String
  let storage: any ByteStorage
  let range: Range<Int>

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: storage.bytes[range]) }
}

/// The rows of a tensor in another order, copied when they are first asked for.
private final class GatheredRows: ByteStorage {
  private let source: TensorView
  private let order: @Sendable (Int) -> Int
  /// Bit pattern of the copy's address, nil before there is one; an address alone is Sendable.
  private let address = Mutex<UInt?>(nil)

  init(of source: TensorView, order: @escaping @Sendable (Int) -> Int) {
    self.source = source
    self.order = order
  }

  deinit {
    if let address = address.withLock({ $0 }) {
      UnsafeMutableRawPointer(bitPattern: address)?.deallocate()
    }
  }

  var bytes: UnsafeRawBufferPointer {
    let copy = address.withLock { address in
      if let address { return address }
      let made = UInt(bitPattern: copied())
      address = made
      return made
    }
    return UnsafeRawBufferPointer(
      start: UnsafeRawPointer(bitPattern: copy), count: source.byteCount)
  }

  private func copied() -> UnsafeMutableRawPointer {
    let copy = UnsafeMutableRawBufferPointer.allocate(
      byteCount: max(source.byteCount, 1), alignment: 64)
    let rows = source.shape.first ?? 1
    let rowBytes = source.byteCount / max(rows, 1)
    let stored = source.bytes
    for row in 0..<rows {
      let start = order(row) * rowBytes
      UnsafeMutableRawBufferPointer(rebasing: copy[row * rowBytes..<(row + 1) * rowBytes])
        .copyMemory(
          from: UnsafeRawBufferPointer(rebasing: stored[start..<start + rowBytes]))
    }
    // The allocation is never empty.
    return copy.baseAddress ?? UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 64)
  }
}

/// The numbers of a tensor as bfloat16, made when they are first asked for.
private final class WidenedNumbers: ByteStorage {
  private let source: TensorView
  private let numbers = Mutex<UnsafeMutableRawBufferPointer?>(nil)

  init(of source: TensorView) { self.source = source }

  deinit { numbers.withLock { $0?.deallocate() } }

  var bytes: UnsafeRawBufferPointer {
    let address = numbers.withLock { numbers -> UInt in
      if let made = numbers { return UInt(bitPattern: made.baseAddress) }
      let made = UnsafeMutableRawBufferPointer.allocate(
        byteCount: max(2 * source.count, 1), alignment: 64)
      for (index, value) in source.floats().enumerated() {
        made.storeBytes(
          of: value.bfloat16Bits.littleEndian, toByteOffset: 2 * index,
          as: UInt16.self)
      }
      numbers = made
      return UInt(bitPattern: made.baseAddress)
    }
    return UnsafeRawBufferPointer(
      start: UnsafeRawPointer(bitPattern: address), count: 2 * source.count)
  }
}

extension TensorView {
  /// Every element as Float: exactly where dense, rounded from the definition where in blocks. The plain
  /// reference of every conversion; backends have their own fast ones.
  public func floats() -> [Float] {
    switch format {
    case .blocks(let block): block.decodedRow(bytes).map { Float($0) }
    case .dense(let element): floats(element)
    case .float8: eightBitFloats()
    }
  }

  private func eightBitFloats() -> [Float] {
    let width = shape.last ?? 1
    let blocksOfRow = scales.map { (width + $0.columns - 1) / $0.columns } ?? 0
    return bytes.enumerated().map { index, byte in
      let (row, column) = index.quotientAndRemainder(dividingBy: width)
      let scale = scales.map { $0.values[row / $0.rows * blocksOfRow + column / $0.columns] }
      return Float(float8Bits: byte) * (scale ?? 1)
    }
  }

  /// The numbers as bfloat16, which takes memory of its own when its bytes are first used.
  public func widened() -> TensorView {
    TensorView(
      name: name, format: .dense(.bfloat16), shape: shape, file: file,
      storage: WidenedNumbers(of: self), range: 0..<2 * count)
  }

  private func floats(_ elementType: ElementType) -> [Float] {
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

  /// Index of the first element that is NaN or infinite, nil when none is found.
  ///
  /// Reads all of a dense tensor, at about the speed of memory. Of blocks, whose scales alone can be other
  /// than finite, 64 spread over the tensor are read: a whole file of them is larger than what a model
  /// should wait for before its first token.
  public func firstNonFiniteIndex() -> Int? {
    // All ones in the exponent is NaN or infinity in each of the three formats.
    switch format {
    case .dense(.float32): return firstIndex(withBits: UInt32(0x7F80_0000))
    case .dense(.float16): return firstIndex(withBits: UInt16(0x7C00))
    case .dense(.bfloat16): return firstIndex(withBits: UInt16(0x7F80))
    case .float8: return bytes.firstIndex { $0 & 0x7F == 0x7F }
    case .blocks(let block):
      let blocks = bytes.count / block.bytesPerBlock
      let sampled = Set((0..<64).map { $0 * max(blocks - 1, 0) / 63 }).sorted()
      for index in sampled where index < blocks {
        let start = index * block.bytesPerBlock
        let elements = block.decoded(
          UnsafeRawBufferPointer(rebasing: bytes[start..<start + block.bytesPerBlock]))
        if let found = elements.firstIndex(where: { !$0.isFinite }) {
          return index * block.elementsPerBlock + found
        }
      }
      return nil
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
