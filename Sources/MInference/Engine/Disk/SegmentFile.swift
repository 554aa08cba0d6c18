package import Compute
package import Files
package import Transformers

/// Keys and values of a run of tokens in a file: a node of the tree on disk.
///
/// A segment goes on behind a position of its parent, whose own run may be longer: what branches off in the
/// middle of a run leaves that file as it is. All numbers are little endian:
///
/// | bytes | what |
/// |---|---|
/// | 8 | "minfsegm" |
/// | 4 | format version |
/// | 4 | number format: 0 float32, 1 bfloat16, 2 float8 (e4m3) |
/// | 4 x 4 | layers, key-value heads, head dimension, positions of a block |
/// | 8 | positions of all blocks of a layer |
/// | to 4,096 | zero |
/// | ... | the blocks, layer by layer: keys, then values, [head][position][dim] |
/// | 16 | what tells apart keys and values of other models and kinds of attention, hexadecimal digits |
/// | 5 x 8 | identity, the parent's (0: none), first position, positions that count, length that decided the rotary frequencies |
/// | 8 | float64: seconds that the engine took for a token of a prompt on average; 0: not known |
/// | 4 each | ids of the tokens at the positions that count |
/// | 4 each | of each layer of float8: float32 factors, one a head, of the keys, then of the values |
/// | 8 each | checksum of each block |
/// | 8 | checksum of the first 4,096 bytes and of everything behind the blocks |
///
/// What is known at the end alone stands at the end: a sequence may lose its last positions while it is
/// written.
package struct SegmentLayout: Equatable {
  static let magic = Array("minfsegm".utf8)
  /// Files of whole sequences had the versions before.
  static let version = 3
  package static let headByteCount = 4096
  /// Number formats in the order of their numbers.
  private static let types: [DataType] = [.float32, .bfloat16, .float8]

  package let extents: KeyValueExtents
  package let layers: Int
  /// Positions of a block; the last one of a layer may have fewer.
  package let blockPositions: Int
  /// Positions of all blocks of a layer.
  package let positions: Int

  /// - Parameter blockBytes: A block has no more, if a position does not.
  package init(_ extents: KeyValueExtents, layers: Int, positions: Int, blockBytes: Int) {
    self.extents = extents
    self.layers = layers
    self.positions = positions
    blockPositions = max(1, blockBytes / extents.positionByteCount)
  }

  package static func supports(_ type: DataType) -> Bool { types.contains(type) }

  package var blocksOfLayer: Int { (positions + blockPositions - 1) / blockPositions }
  package var blockCount: Int { layers * blocksOfLayer }
  package var factorCount: Int { extents.type == .float8 ? layers * 2 * extents.heads : 0 }
  /// Bytes of the largest block.
  package var blockByteCount: Int { min(blockPositions, positions) * extents.positionByteCount }
  /// Where the blocks end.
  package var blocksEnd: Int { Self.headByteCount + layers * positions * extents.positionByteCount }

  package func layer(ofBlock index: Int) -> Int { index / blocksOfLayer }

  /// The positions of a block, counted from the segment's first.
  package func positions(ofBlock index: Int) -> Range<Int> {
    let first = index % blocksOfLayer * blockPositions
    return first..<min(first + blockPositions, positions)
  }

  package func byteRange(ofBlock index: Int) -> Range<Int> {
    let positions = positions(ofBlock: index)
    let start =
      Self.headByteCount
      + (layer(ofBlock: index) * self.positions + positions.lowerBound)
      * extents.positionByteCount
    return start..<start + positions.count * extents.positionByteCount
  }

  /// What a block's checksum begins with: blocks cannot be exchanged.
  package static func seed(ofBlock index: Int) -> UInt64 { UInt64(index) &+ 1 }

  /// The beginning of the file.
  package var head: [UInt8] {
    var bytes = SegmentBytes(Self.magic)
    bytes.add(UInt32(Self.version))
    bytes.add(UInt32(Self.types.firstIndex(of: extents.type) ?? 0))
    for number in [layers, extents.heads, extents.headDim, blockPositions] {
      bytes.add(UInt32(number))
    }
    bytes.add(UInt64(positions))
    return bytes.bytes + [UInt8](repeating: 0, count: Self.headByteCount - bytes.bytes.count)
  }

  /// - Returns: nil for another file, also of another version.
  package init?(head: [UInt8]) {
    var bytes = SegmentBytes(head)
    guard bytes.take(8) == Self.magic, bytes.number(UInt32.self) == UInt32(Self.version),
      let type = bytes.number(UInt32.self), Self.types.indices.contains(Int(type))
    else { return nil }
    let extents = (0..<4).compactMap { _ in bytes.number(UInt32.self).map(Int.init) }
    guard extents.count == 4, extents.allSatisfy({ 1...1 << 24 ~= $0 }),
      let positions = bytes.number(UInt64.self), 1...1 << 32 ~= positions
    else { return nil }
    self.extents = KeyValueExtents(
      type: Self.types[Int(type)], heads: extents[1], headDim: extents[2])
    layers = extents[0]
    blockPositions = extents[3]
    self.positions = Int(positions)
    // The largest numbers make a file that no disk holds.
    let size = [layers, extents[1], extents[2], self.positions].reduce(8.0) { $0 * Double($1) }
    guard size < 1e18, self.head == head else { return nil }
  }
}

/// What stands behind a segment's blocks.
package struct SegmentTrailer: Equatable {
  /// Sixteen digits that tell apart keys and values that differ for the same ids.
  package var key: String
  package var identity: UInt64
  /// 0 where there is none.
  package var parent: UInt64
  /// The position of the first token.
  package var start: Int
  package var sequenceLength: Int
  package var secondsPerToken: Double
  package var tokens: [Int32]
  package var factors: [Float]
  package var checksums: [UInt64]

  package init(
    key: String, identity: UInt64, parent: UInt64, start: Int, sequenceLength: Int,
    secondsPerToken: Double, tokens: [Int32], factors: [Float], checksums: [UInt64]
  ) {
    self.key = key
    self.identity = identity
    self.parent = parent
    self.start = start
    self.sequenceLength = sequenceLength
    self.secondsPerToken = secondsPerToken
    self.tokens = tokens
    self.factors = factors
    self.checksums = checksums
  }

  package var end: Int { start + tokens.count }

  package static func byteCount(tokens: Int, _ layout: SegmentLayout) -> Int {
    16 + 6 * 8 + 4 * tokens + 4 * layout.factorCount + 8 * layout.blockCount + 8
  }

  package func bytes(_ layout: SegmentLayout) -> [UInt8] {
    var bytes = SegmentBytes(Array(key.utf8))
    for number in [
      identity, parent, UInt64(start), UInt64(tokens.count), UInt64(sequenceLength),
    ] {
      bytes.add(number)
    }
    bytes.add(secondsPerToken.bitPattern)
    bytes.add(tokens.map(\.littleEndian))
    bytes.add(factors.map(\.bitPattern.littleEndian))
    bytes.add(checksums.map(\.littleEndian))
    bytes.add(Self.checksum(bytes.bytes, layout))
    return bytes.bytes
  }

  private static func checksum(_ bytes: [UInt8], _ layout: SegmentLayout) -> UInt64 {
    (layout.head + bytes).withUnsafeBytes { BlockChecksum.of($0, seed: 0) }
  }

  /// Whether the last bytes are the checksum of those before.
  fileprivate static func hasChecksum(_ bytes: [UInt8], _ layout: SegmentLayout) -> Bool {
    guard bytes.count >= 8 else { return false }
    var sum = SegmentBytes(Array(bytes.suffix(8)))
    return sum.number(UInt64.self) == checksum(Array(bytes.dropLast(8)), layout)
  }
}

/// A segment's file, open for reading.
package struct SegmentFile {
  package let reader: FileReader
  package let layout: SegmentLayout
  package let trailer: SegmentTrailer

  /// Reads everything but the blocks.
  ///
  /// - Returns: nil for a file of another version, one that is not whole, or one that was changed.
  package init?(path: String) {
    guard let reader = try? FileReader(path: path),
      let head = Self.bytes(of: reader, 0..<SegmentLayout.headByteCount),
      let layout = SegmentLayout(head: head), layout.blocksEnd <= reader.byteCount,
      // A damaged head could ask for a large part of the file.
      reader.byteCount - layout.blocksEnd
        <= SegmentTrailer.byteCount(tokens: layout.positions, layout),
      let rest = Self.bytes(of: reader, layout.blocksEnd..<reader.byteCount)
    else { return nil }
    var bytes = SegmentBytes(rest)
    let key = bytes.take(16)
    let numbers = (0..<5).compactMap { _ in bytes.number(UInt64.self) }
    let seconds = Double(bitPattern: bytes.number(UInt64.self) ?? 0)
    guard numbers.count == 5, seconds >= 0, seconds.isFinite, numbers[0] > 0, numbers[3] > 0,
      numbers[3] <= UInt64(layout.positions),
      numbers[2] <= UInt64(UInt32.max), 1...UInt64(UInt32.max) ~= numbers[4],
      SegmentTrailer.byteCount(tokens: Int(numbers[3]), layout) == rest.count
    else { return nil }
    trailer = SegmentTrailer(
      key: String(decoding: key, as: UTF8.self), identity: numbers[0], parent: numbers[1],
      start: Int(numbers[2]), sequenceLength: Int(numbers[4]), secondsPerToken: seconds,
      tokens: bytes.numbers(Int(numbers[3]), Int32.self).map(Int32.init(littleEndian:)),
      factors: bytes.numbers(layout.factorCount, UInt32.self).map {
        Float(bitPattern: UInt32(littleEndian: $0))
      },
      checksums: bytes.numbers(layout.blockCount, UInt64.self).map(UInt64.init(littleEndian:)))
    guard SegmentTrailer.hasChecksum(rest, layout) else { return nil }
    self.reader = reader
    self.layout = layout
  }

  private static func bytes(of reader: FileReader, _ range: Range<Int>) -> [UInt8]? {
    guard range.upperBound <= reader.byteCount else { return nil }
    var bytes = [UInt8](repeating: 0, count: range.count)
    let isWhole = bytes.withUnsafeMutableBytes { bytes in
      (try? reader.read(into: bytes, at: range.lowerBound)) != nil
    }
    return isWhole ? bytes : nil
  }
}

/// Numbers in bytes, little endian.
private struct SegmentBytes {
  private(set) var bytes: [UInt8]
  private var offset = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  mutating func add<Number: FixedWidthInteger>(_ number: Number) {
    withUnsafeBytes(of: number.littleEndian) { bytes += $0 }
  }

  /// Numbers that are little endian already.
  mutating func add<Number: FixedWidthInteger>(_ numbers: [Number]) {
    numbers.withUnsafeBytes { bytes += $0 }
  }

  /// The next numbers as they are; fewer at the end.
  mutating func numbers<Number: FixedWidthInteger>(_ count: Int, _: Number.Type) -> [Number] {
    let size = MemoryLayout<Number>.size
    let count = max(0, min(count, (bytes.count - offset) / size))
    defer { offset += count * size }
    return [Number](unsafeUninitializedCapacity: count) { numbers, used in
      bytes.withUnsafeBytes { bytes in
        UnsafeMutableRawBufferPointer(numbers).copyMemory(
          from: UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count * size]))
      }
      used = count
    }
  }

  /// The next bytes; fewer at the end.
  mutating func take(_ count: Int) -> [UInt8] {
    let end = min(offset + count, bytes.count)
    defer { offset = end }
    return Array(bytes[offset..<end])
  }

  /// The next number; nil at the end.
  mutating func number<Number: FixedWidthInteger>(_: Number.Type) -> Number? {
    let size = MemoryLayout<Number>.size
    guard offset + size <= bytes.count else { return nil }
    defer { offset += size }
    return bytes.withUnsafeBytes {
      Number(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Number.self))
    }
  }
}
