/// The kind Unigram: of all ways to cut a text into pieces, the one whose scores have the largest sum.
///
/// Source: Kudo, "Subword Regularization" (2018), section 3.1, the Viterbi algorithm; unknown characters cost ten more
/// than the worst piece, as in sentencepiece's `unigram_model.cc`.
struct UnigramModel: Sendable {
  /// The longest piece, in bytes, so that the time stays linear in the text.
  static let longestPiece = 1_024
  private static let unknownPenalty = 10.0

  let vocabulary: Vocabulary
  private let unknownID: UInt32
  /// By byte: the id of `<0xNN>`; nil without byte fallback.
  private let fallbackIDs: [UInt32]?
  /// SentencePiece adds scores as 32-bit numbers, Hugging Face as 64-bit ones.
  private let usesSinglePrecision: Bool
  private let unknownScore: Double

  /// Trie edges by node << 8 | byte.
  private var edges: [UInt64: UInt32] = [:]
  /// By node: the piece that ends there, or `none`, and its score.
  private var ends: [(id: UInt32, score: Double)] = [(BytePairEncoding.none, 0)]

  /// - Parameter pieces: those that a text can give.
  /// - Throws: `.unsupported` where a piece is too long, `.malformed` for a score that is not a number.
  init(
    _ pieces: [(text: [UInt8], score: Double, id: UInt32)], vocabulary: Vocabulary,
    unknownID: UInt32?, fallsBackToBytes: Bool, usesSinglePrecision: Bool, file: String
  ) throws(TokenizerError) {
    self.vocabulary = vocabulary
    self.unknownID = unknownID ?? BytePairEncoding.none
    self.usesSinglePrecision = usesSinglePrecision
    fallbackIDs = fallsBackToBytes ? BytePairEncoding.fallbackIDs(of: vocabulary) : nil
    let lowest = pieces.lazy.map(\.score).min() ?? 0
    let unknown = lowest - Self.unknownPenalty
    unknownScore = usesSinglePrecision ? Double(Float(unknown)) : unknown
    for piece in pieces where !piece.text.isEmpty {
      guard piece.text.count <= Self.longestPiece else {
        throw TokenizerError(
          .unsupported, file,
          "has a piece of \(piece.text.count) bytes, past the limit of \(Self.longestPiece)")
      }
      guard piece.score.isFinite else {
        throw TokenizerError(.malformed, file, "has a piece whose score is not a number")
      }
      var node: UInt32 = 0
      for byte in piece.text {
        let edge = UInt64(node) << 8 | UInt64(byte)
        if let next = edges[edge] {
          node = next
        } else {
          node = UInt32(ends.count)
          ends.append((BytePairEncoding.none, 0))
          edges[edge] = node
        }
      }
      ends[Int(node)] = (piece.id, piece.score)
    }
  }

  /// The best way to a place: its score, where its last piece begins and what that is.
  private struct Step {
    var score = -Double.infinity
    var start = -1
    var id = BytePairEncoding.none
  }

  func encode(_ pieces: Pieces, _ session: EncodingSession) {
    pieces.bytes.withUnsafeBufferPointer { text in
      var start = 0
      for end in pieces.ends {
        encode(UnsafeBufferPointer(rebasing: text[start..<end]), session)
        start = end
      }
    }
  }

  private func encode(_ text: UnsafeBufferPointer<UInt8>, _ session: EncodingSession) {
    var steps = [Step](repeating: Step(), count: text.count + 1)
    steps[0].score = 0
    var start = 0
    while start < text.count {
      let length = UTF8Bytes.length(lead: text[start])
      let score = steps[start].score
      var hasCharacter = false
      var node: UInt32 = 0
      var end = start
      while end < text.count, let next = edges[UInt64(node) << 8 | UInt64(text[end])] {
        node = next
        end += 1
        let (id, pieceScore) = ends[Int(node)]
        guard id != BytePairEncoding.none else { continue }
        take(&steps[end], rounded(pieceScore + score), start, id)
        if end - start == length { hasCharacter = true }
      }
      if !hasCharacter {
        take(
          &steps[start + length], rounded(unknownScore + score), start, BytePairEncoding.none)
      }
      start += length
    }
    append(steps, text, session)
  }

  @inline(__always)
  private func rounded(_ score: Double) -> Double {
    usesSinglePrecision ? Double(Float(score)) : score
  }

  /// The first of equally good ways stays.
  @inline(__always)
  private func take(_ step: inout Step, _ score: Double, _ start: Int, _ id: UInt32) {
    if step.start < 0 || score > step.score { step = Step(score: score, start: start, id: id) }
  }

  private func append(
    _ steps: [Step], _ text: UnsafeBufferPointer<UInt8>, _ session: EncodingSession
  ) {
    var path: [(range: Range<Int>, id: UInt32)] = []
    var end = text.count
    while end > 0 {
      let step = steps[end]
      path.append((step.start..<end, step.id))
      end = step.start
    }
    var followsUnknown = false
    for (range, id) in path.reversed() {
      if id != BytePairEncoding.none {
        session.output.append(id)
        followsUnknown = false
      } else if let fallbackIDs,
        text[range].allSatisfy({ fallbackIDs[Int($0)] != BytePairEncoding.none })
      {
        for byte in text[range] { session.output.append(fallbackIDs[Int(byte)]) }
        followsUnknown = false
      } else {
        // Neighbouring unknown characters are one.
        if !followsUnknown, unknownID != BytePairEncoding.none { session.output.append(unknownID) }
        followsUnknown = true
      }
    }
  }
}
