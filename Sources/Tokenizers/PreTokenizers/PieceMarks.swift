/// Places in a text at which encoding can go on, gathered while it is encoded.
struct PieceMarks {
  let spacing: Int
  private(set) var marks: [EncodingMemory.Mark] = []
  private var last: Int

  /// What the scanners look at beyond the first character behind a match that is not white space: the two letters
  /// of a contraction, of up to four bytes each, and room.
  private static let lookahead = 16

  /// - Parameter start: The place at which encoding went on.
  init(spacing: Int, from start: Int) {
    self.spacing = spacing
    last = start
  }

  /// Marks the beginning of a piece, if it stands there whatever follows, and if the last mark is not near.
  ///
  /// A match ends where the characters up to the first one behind it that is not white space say so
  /// (`SplitScanner`). Normalization puts nothing together across a stable character.
  ///
  /// - Parameters:
  ///   - first: The piece's first byte.
  ///   - bytes: What is cut into pieces.
  ///   - start: Where these bytes stand in the text.
  ///   - count: Ids before the piece.
  mutating func add(_ first: Int, of bytes: [UInt8], at start: Int, ids count: Int) {
    guard start + first >= last + spacing, Self.isStable(bytes[first]) else { return }
    var end = first
    while end < bytes.count, end < first + 8, Self.isSpace(bytes[end]) { end += 1 }
    guard end + Self.lookahead < bytes.count, Self.isStable(bytes[end]), !Self.isSpace(bytes[end]),
      bytes[end + Self.lookahead / 2..<end + Self.lookahead].contains(where: Self.isStable)
    else { return }
    last = start + first
    marks.append(
      EncodingMemory.Mark(offset: last, count: count, reach: start + end + Self.lookahead))
  }

  /// Whether a character that begins with this byte never changes with what stands before it: ASCII, and ideographs
  /// from U+4000 to U+9FFF.
  private static func isStable(_ byte: UInt8) -> Bool { byte < 0x80 || 0xE4...0xE9 ~= byte }

  private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || 0x09...0x0D ~= byte }
}
