/// The state of a decoder's stages while pieces go through them one by one.
struct PieceDecoding {
  private let decoder: Decoder
  private var isFirst = true
  /// By stage: bytes of a run of `<0xNN>`, or trailing characters that a Strip may still take.
  private var held: [[UInt8]]
  /// By stage: how many characters a Strip behind a Fuse still takes from the front.
  private var toStrip: [Int]
  /// Whether a run of `<0xNN>` is let go as soon as it is well-formed, instead of at its end.
  private let isEager: Bool

  init(_ decoder: Decoder, isEager: Bool) {
    self.decoder = decoder
    self.isEager = isEager
    held = Array(repeating: [], count: decoder.stages.count)
    toStrip = decoder.stages.map { if case .strip(_, let start, _) = $0 { start } else { 0 } }
  }

  /// Takes one piece as the vocabulary spells it and appends what comes out to `output`.
  mutating func push(_ piece: [UInt8], to output: inout [UInt8]) {
    if !isFirst { output += decoder.separator }
    pass(piece, through: 0, isFused: false, to: &output)
    isFirst = false
  }

  /// Appends what the stages still hold.
  mutating func finish(to output: inout [UInt8]) {
    var isFused = false
    for (index, stage) in decoder.stages.enumerated() {
      switch stage {
      case .fuse: isFused = true
      case .byteFallback: flushBytes(index, isFused: isFused, to: &output)
      case .strip(let character, _, let stop) where isFused:
        let kept = max(0, held[index].count / character.count - stop) * character.count
        let rest = Array(held[index][..<kept])
        held[index] = []
        pass(rest, through: index + 1, isFused: true, to: &output)
      default: break
      }
    }
  }

  private mutating func pass(
    _ piece: [UInt8], through first: Int, isFused fused: Bool, to output: inout [UInt8]
  ) {
    var piece = piece
    var isFused = fused
    for index in first..<decoder.stages.count {
      switch decoder.stages[index] {
      case .byteLevel:
        var bytes: [UInt8] = []
        if ByteAlphabet.decode(piece, appendingTo: &bytes) { piece = bytes }
      case .replace(let replacement): replacement.apply(to: &piece)
      case .metaspace(let replacement, let dropsFirst):
        piece = Self.withoutMarks(piece, replacement, becoming: dropsFirst && isFirst ? [] : [0x20])
      case .byteFallback:
        if let byte = Self.byte(named: piece) {
          held[index].append(byte)
          if isEager, Self.isWellFormed(held[index]) {
            flushBytes(index, isFused: isFused, to: &output)
          }
          return
        }
        flushBytes(index, isFused: isFused, to: &output)
      case .fuse: isFused = true
      case .strip(let character, let start, let stop):
        if isFused {
          piece = stripFused(index, piece, character, stop)
        } else {
          piece = Self.stripped(piece, character, start, stop)
        }
      }
    }
    output += piece
  }

  private mutating func flushBytes(_ index: Int, isFused: Bool, to output: inout [UInt8]) {
    guard !held[index].isEmpty else { return }
    var bytes = held[index]
    held[index] = []
    if !Self.isWellFormed(bytes) {
      bytes = bytes.flatMap { _ in [0xEF, 0xBF, 0xBD] as [UInt8] }
    }
    pass(bytes, through: index + 1, isFused: isFused, to: &output)
  }

  private static func isWellFormed(_ bytes: [UInt8]) -> Bool {
    bytes.withUnsafeBufferPointer { UTF8Bytes.firstInvalidOffset($0) == nil }
  }

  /// The byte of a piece `<0xNN>`.
  private static func byte(named piece: [UInt8]) -> UInt8? {
    guard piece.count == 6, piece.starts(with: "<0x".utf8), piece[5] == UInt8(ascii: ">") else {
      return nil
    }
    let digits = piece[3..<5].compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
    return digits.count == 2 ? UInt8(digits[0] << 4 | digits[1]) : nil
  }

  private static func withoutMarks(
    _ piece: [UInt8], _ mark: [UInt8], becoming content: [UInt8]
  ) -> [UInt8] {
    var output: [UInt8] = []
    var rest = piece[...]
    while let first = rest.first {
      if rest.starts(with: mark) {
        output += content
        rest = rest.dropFirst(mark.count)
      } else {
        output.append(first)
        rest = rest.dropFirst()
      }
    }
    return output
  }

  private static func stripped(
    _ piece: [UInt8], _ character: [UInt8], _ start: Int, _ stop: Int
  ) -> [UInt8] {
    var rest = piece[...]
    for _ in 0..<start where rest.starts(with: character) { rest = rest.dropFirst(character.count) }
    for _ in 0..<stop where rest.suffix(character.count).elementsEqual(character) {
      rest = rest.dropLast(character.count)
    }
    return Array(rest)
  }

  /// Strips the one text that Fuse makes of all pieces, of which `piece` is the next part.
  private mutating func stripFused(
    _ index: Int, _ piece: [UInt8], _ character: [UInt8], _ stop: Int
  ) -> [UInt8] {
    var rest = piece[...]
    while toStrip[index] > 0, !rest.isEmpty {
      if rest.starts(with: character) {
        rest = rest.dropFirst(character.count)
        toStrip[index] -= 1
      } else {
        toStrip[index] = 0
      }
    }
    guard stop > 0 else { return Array(rest) }
    var text = held[index] + rest
    var trailing = 0
    while trailing < stop,
      text.dropLast(trailing * character.count).suffix(character.count).elementsEqual(character)
    { trailing += 1 }
    held[index] = Array(text.suffix(trailing * character.count))
    text.removeLast(trailing * character.count)
    return text
  }
}
