public import Compute
import StoredNumbers

/// What a position's keys and values of one layer are: the extents by which blocks of them are laid out.
public struct KeyValueExtents: Sendable, Hashable {
  public let type: DataType
  public let heads: Int
  public let headDim: Int

  public init(type: DataType, heads: Int, headDim: Int) {
    self.type = type
    self.heads = heads
    self.headDim = headDim
  }

  /// Bytes of one position's keys and values.
  public var positionByteCount: Int { 2 * heads * headDim * type.byteCount }
}

/// Keys and values of consecutive positions of one layer in host memory, as they are kept, little endian:
/// [keys, values][head][position][dim].
public struct KeyValueBlock {
  public let memory: any StagingMemory
  public let extents: KeyValueExtents
  public let positions: Int

  public init(memory: any StagingMemory, extents: KeyValueExtents, positions: Int) {
    self.memory = memory
    self.extents = extents
    self.positions = positions
  }

  public var byteCount: Int { positions * extents.positionByteCount }

  /// The first byte of a position's keys (`part` 0) or values (1) of a head.
  func offset(part: Int, head: Int, position: Int) -> Int {
    ((part * extents.heads + head) * positions + position) * extents.headDim
      * extents.type.byteCount
  }
}

extension KeyValueTransfer {
  /// By way of the host's floats: for what passes on numbers alone.
  public func save(_ positions: Range<Int>, to block: KeyValueBlock, at first: Int) throws {
    let (keys, values) = try rows(at: positions)
    try block.memory.wait()
    for (part, floats) in [keys, values].enumerated() {
      block.exchange(part: part, positions.count, at: first) { index, bytes in
        switch block.extents.type {
        case .bfloat16:
          bytes.storeBytes(of: floats[index].bfloat16Bits.littleEndian, as: UInt16.self)
        case .float8: bytes.storeBytes(of: floats[index].float8Bits, as: UInt8.self)
        default: bytes.storeBytes(of: floats[index].bitPattern.littleEndian, as: UInt32.self)
        }
      }
    }
  }

  /// By way of the host's floats: for what passes on numbers alone.
  public func restore(_ positions: Range<Int>, from block: KeyValueBlock, at first: Int) throws {
    let count = positions.count * block.extents.heads * block.extents.headDim
    var parts = [[Float]](repeating: [Float](repeating: 0, count: count), count: 2)
    for part in 0..<2 {
      block.exchange(part: part, positions.count, at: first) { index, bytes in
        parts[part][index] =
          switch block.extents.type {
          case .bfloat16:
            Float(bfloat16Bits: UInt16(littleEndian: bytes.loadUnaligned(as: UInt16.self)))
          case .float8: Float(float8Bits: bytes.load(as: UInt8.self))
          default: Float(bitPattern: UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self)))
          }
      }
    }
    try setRows(at: positions, keys: parts[0], values: parts[1])
  }
}

extension KeyValueBlock {
  /// Calls `body` for every number of some positions with its index in [position][head][dim] and its bytes.
  fileprivate func exchange(
    part: Int, _ count: Int, at first: Int, body: (Int, UnsafeMutableRawPointer) -> Void
  ) {
    let (heads, dim) = (extents.heads, extents.headDim)
    for head in 0..<heads {
      for position in 0..<count {
        let start = memory.start + offset(part: part, head: head, position: first + position)
        for element in 0..<dim {
          body(
            (position * heads + head) * dim + element, start + element * extents.type.byteCount)
        }
      }
    }
  }
}
