/// The merges of a vocabulary with scores: of two neighbours that together are a piece, those of the highest score
/// merge first, of equal scores the leftmost.
///
/// Source: sentencepiece, `bpe_model.cc`; llama.cpp, `llm_tokenizer_spm_session`.
extension MergeTable {
  /// The most work that finding the merges may take: the sum of the squares of the lengths of pieces.
  static let largestWork = 1 << 30

  /// - Parameter pieces: text, score and id of the pieces that merging may make.
  /// - Throws: `.unsupported` where the pieces are so long that finding the merges would not end in a useful time.
  init(
    scored pieces: [(text: [UInt8], score: Float, id: UInt32)], _ vocabulary: Vocabulary,
    file: String
  ) throws(TokenizerError) {
    try Self.checkWork(pieces.lazy.map(\.text.count), file: file)
    self.init(expectedCount: pieces.count * 2)
    // NaN would have no place in the order.
    let sorted = pieces.filter { !$0.score.isNaN }.sorted {
      ($1.score, $0.id) < ($0.score, $1.id)
    }
    var group: [(left: UInt32, right: UInt32, merged: UInt32)] = []
    for (index, piece) in sorted.enumerated() {
      group += Self.pairs(of: piece.text, vocabulary).map { ($0.left, $0.right, piece.id) }
      if index + 1 == sorted.count || sorted[index + 1].score != piece.score {
        guard mergedIDs.count < Self.largestCount else {
          throw TokenizerError(.unsupported, file, "has more than \(Self.largestCount) merges")
        }
        append(group)
        group.removeAll(keepingCapacity: true)
      }
    }
  }

  /// Every way to make a piece of two: cuts between scalars, or between bytes in a byte-level vocabulary.
  static func pairs(
    of text: [UInt8], _ vocabulary: Vocabulary
  ) -> [(left: UInt32, right: UInt32)] {
    var pairs: [(left: UInt32, right: UInt32)] = []
    text.withUnsafeBufferPointer { text in
      for cut in text.indices.dropFirst() where vocabulary.isByteLevel || text[cut] & 0xC0 != 0x80 {
        guard let left = vocabulary.id(of: UnsafeBufferPointer(rebasing: text[..<cut])),
          let right = vocabulary.id(of: UnsafeBufferPointer(rebasing: text[cut...]))
        else { continue }
        pairs.append((left, right))
      }
    }
    return pairs
  }

  static func checkWork(
    _ lengths: some Sequence<Int>, file: String
  ) throws(TokenizerError) {
    var work = 0
    for length in lengths {
      // A piece of 2^20 bytes alone is past the limit, so nothing overflows.
      work += min(length, 1 << 20) * min(length, 1 << 20)
      guard work <= largestWork else {
        throw TokenizerError(
          .unsupported, file, "has pieces of \(length) bytes and more, which are too long to merge")
      }
    }
  }
}
