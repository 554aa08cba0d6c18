/// The `model` of tokenizer.json, kind BPE: turns pieces of text into ids.
struct BytePairEncoding: Sendable {
  /// No id.
  static let none = UInt32.max

  let vocabulary: Vocabulary
  let merges: MergeTable
  /// A piece that is in the vocabulary is taken whole, whatever the merges would make of it.
  let ignoresMerges: Bool
  /// Stands for characters that are not in the vocabulary; `none` drops them.
  let unknownID: UInt32
  /// Whether neighbouring unknown characters become one unknown id.
  let fusesUnknown: Bool
  /// By byte: the id of a lone byte of a byte-level vocabulary, or of an ASCII character otherwise.
  let byteIDs: [UInt32]
  /// By byte: the id of `<0xNN>`, for characters that are not in the vocabulary; nil without byte fallback.
  let fallbackIDs: [UInt32]?
  /// A text before whose runs pieces can be cut without changing the ids (SentencePiece's visible blank).
  let cutMark: [UInt8]

  init(
    vocabulary: Vocabulary, merges: MergeTable, ignoresMerges: Bool, unknownID: UInt32?,
    fusesUnknown: Bool, fallsBackToBytes: Bool
  ) {
    self.vocabulary = vocabulary
    self.merges = merges
    self.ignoresMerges = ignoresMerges
    self.unknownID = unknownID ?? Self.none
    self.fusesUnknown = fusesUnknown
    byteIDs = (0..<256).map { byte in
      if !vocabulary.isByteLevel && byte >= 0x80 { return Self.none }
      return [UInt8(byte)].withUnsafeBufferPointer(vocabulary.id(of:)) ?? Self.none
    }
    fallbackIDs = fallsBackToBytes ? Self.fallbackIDs(of: vocabulary) : nil
    cutMark = ignoresMerges ? [] : Self.cutMark(for: vocabulary)
  }

  /// By byte: the id of `<0xNN>`.
  static func fallbackIDs(of vocabulary: Vocabulary) -> [UInt32] {
    (0..<256).map { byte in
      let digits = String(byte, radix: 16, uppercase: true)
      let name = "<0x\(byte < 16 ? "0" : "")\(digits)>"
      return vocabulary.id(spelled: Array(name.utf8)) ?? none
    }
  }

  /// U+2581 if it is a piece and no piece has it after another character; then merges never reach across
  /// the place before a run of it, and unknown characters are not fused across it.
  private static func cutMark(for vocabulary: Vocabulary) -> [UInt8] {
    let mark: [UInt8] = [0xE2, 0x96, 0x81]
    guard !vocabulary.isByteLevel, vocabulary.id(spelled: mark) != nil else { return [] }
    var isInside = false
    vocabulary.forEachPiece { piece in
      if piece.count > mark.count, nextCut(in: piece, after: 0, mark) < piece.count {
        isInside = true
      }
    }
    return isInside ? [] : mark
  }

  /// The next place past `start` where a run of `mark` begins, or the end. `mark` has three bytes.
  private static func nextCut(
    in piece: UnsafeBufferPointer<UInt8>, after start: Int, _ mark: [UInt8]
  ) -> Int {
    let (first, second, third) = (mark[0], mark[1], mark[2])
    var position = start + 1
    while position + 3 <= piece.count {
      if piece[position] == first, piece[position + 1] == second, piece[position + 2] == third {
        let continues =
          position >= start + 3 && piece[position - 3] == first && piece[position - 2] == second
          && piece[position - 1] == third
        if !continues { return position }
        position += 3
      } else {
        position += 1
      }
    }
    return piece.count
  }

  /// Appends the ids of every piece to the session's output.
  func encode(_ pieces: Pieces, _ session: EncodingSession) {
    pieces.bytes.withUnsafeBufferPointer { text in
      guard let bytes = text.baseAddress else { return }
      merges.withLookup { merges in
        var start = 0
        for end in pieces.ends {
          if cutMark.isEmpty {
            encode(bytes + start, end - start, available: text.count - start, merges, session)
            start = end
          } else {
            let piece = UnsafeBufferPointer(rebasing: text[start..<end])
            var from = 0
            while from < piece.count {
              let to = Self.nextCut(in: piece, after: from, cutMark)
              encode(
                bytes + start + from, to - from, available: text.count - start - from, merges,
                session)
              from = to
            }
            start = end
          }
        }
      }
    }
  }

  @inline(__always)
  private func encode(
    _ bytes: UnsafePointer<UInt8>, _ length: Int, available: Int, _ merges: MergeTable.Lookup,
    _ session: EncodingSession
  ) {
    guard length <= PieceCache.longestPiece else {
      return encodeUncached(UnsafeBufferPointer(start: bytes, count: length), merges, session)
    }
    let key = PieceCache.Key(bytes, length: length, available: available)
    if session.cache.append(key, to: session.output) { return }
    let start = session.output.count
    encodeUncached(UnsafeBufferPointer(start: bytes, count: length), merges, session)
    session.cache.store(key, start..<session.output.count)
  }

  @inline(never)
  private func encodeUncached(
    _ piece: UnsafeBufferPointer<UInt8>, _ merges: MergeTable.Lookup, _ session: EncodingSession
  ) {
    if ignoresMerges, let id = vocabulary.id(of: piece) { return session.output.append(id) }
    session.symbols.removeAll(keepingCapacity: true)
    if vocabulary.isByteLevel {
      appendByteSymbols(of: piece, to: &session.symbols)
    } else {
      appendCharacterSymbols(of: piece, to: &session.symbols)
    }
    session.symbols.withUnsafeBufferPointer {
      session.merger.mergeAll($0, merges, into: session.output)
    }
  }
}

/// What one encoding call works with; nothing of it outlives the call or is shared.
final class EncodingSession {
  let output: TokenBuffer
  let merger = PairMerger()
  let cache: PieceCache
  /// The symbols of the piece at hand, before merging.
  var symbols: [UInt32] = []
  /// Where encoding can go on later; nil: nobody asks.
  var marks: PieceMarks?

  init(textLength: Int) {
    output = TokenBuffer(capacity: textLength / 3 + 16)
    cache = PieceCache(textLength: textLength)
  }
}
