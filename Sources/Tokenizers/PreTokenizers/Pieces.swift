/// A stretch of text and where pre-tokenizers have cut it so far.
struct Pieces {
  /// The text, well-formed UTF-8.
  var bytes: [UInt8]
  /// Where each piece ends, ascending; the first begins at 0. No piece is empty.
  var ends: [Int]
  /// Whether the stretch begins where the whole text begins (for Metaspace's `first`).
  let beginsText: Bool

  /// One piece, or none if `bytes` is empty.
  init(_ bytes: [UInt8], beginsText: Bool) {
    self.bytes = bytes
    self.ends = bytes.isEmpty ? [] : [bytes.count]
    self.beginsText = beginsText
  }

  /// The bytes of every piece.
  var texts: [[UInt8]] {
    var start = 0
    return ends.map { end in
      defer { start = end }
      return Array(bytes[start..<end])
    }
  }

  /// Some of the pieces.
  subscript(range: Range<Int>) -> Pieces {
    let start = range.lowerBound == 0 ? 0 : ends[range.lowerBound - 1]
    var pieces = Pieces(
      Array(bytes[start..<(range.isEmpty ? start : ends[range.upperBound - 1])]),
      beginsText: beginsText && start == 0)
    pieces.ends = ends[range].map { $0 - start }
    return pieces
  }

  /// Cuts every piece further: `cut` appends the ends of the parts of one piece.
  mutating func split(
    _ cut: (_ text: UnsafeBufferPointer<UInt8>, _ piece: Range<Int>, _ ends: inout [Int]) -> Void
  ) {
    var newEnds: [Int] = []
    newEnds.reserveCapacity(max(ends.count, bytes.count / 4))
    bytes.withUnsafeBufferPointer { text in
      var start = 0
      for end in ends {
        cut(text, start..<end, &newEnds)
        start = end
      }
    }
    ends = newEnds
  }

  /// Rewrites every piece: `rewrite` appends the new text of one piece.
  mutating func rewrite(
    _ rewrite: (_ index: Int, _ piece: ArraySlice<UInt8>, _ output: inout [UInt8]) -> Void
  ) {
    var output: [UInt8] = []
    output.reserveCapacity(bytes.count + bytes.count / 4)
    var newEnds: [Int] = []
    newEnds.reserveCapacity(ends.count)
    var start = 0
    for (index, end) in ends.enumerated() {
      rewrite(index, bytes[start..<end], &output)
      if output.count > newEnds.last ?? 0 { newEnds.append(output.count) }
      start = end
    }
    (bytes, ends) = (output, newEnds)
  }
}
