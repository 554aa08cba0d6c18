/// Finds added tokens in text: leftmost first, of several at one place the longest.
///
/// A table of first bytes skips ordinary text; from a possible start a byte trie is walked. Where a text imitates
/// long tokens so often that this would not be linear, the longest token at each place comes from one
/// pass over the text from its end (`BackwardTokenSearch`).
struct AddedTokenMatcher: Sendable {
  /// A stretch of text: an added token, or text between two of them.
  struct Segment: Equatable {
    var range: Range<Int>
    /// nil for ordinary text.
    var id: UInt32?
  }

  private let tokens: [AddedToken]
  private var isFirstByte = [Bool](repeating: false, count: 256)
  /// Trie edges by node << 8 | byte.
  private var edges: [UInt64: UInt32] = [:]
  private let texts: [[UInt8]]
  /// By node: which token ends there, or -1.
  private var accepts: [Int32] = [-1]

  /// - Parameter tokens: each with the text under which it is looked for; of equal texts the last counts.
  init(_ tokens: [(token: AddedToken, text: [UInt8])]) {
    self.tokens = tokens.map(\.token)
    texts = tokens.map(\.text)
    for (index, entry) in tokens.enumerated() where !entry.text.isEmpty {
      isFirstByte[Int(entry.text[0])] = true
      var node: UInt32 = 0
      for byte in entry.text {
        let edge = UInt64(node) << 8 | UInt64(byte)
        if let next = edges[edge] {
          node = next
        } else {
          node = UInt32(accepts.count)
          accepts.append(-1)
          edges[edge] = node
        }
      }
      accepts[Int(node)] = Int32(index)
    }
  }

  var isEmpty: Bool { accepts.count == 1 }

  /// Splits `text` at its added tokens. Empty text is no segment.
  ///
  /// - Parameter plain: ascending ranges in which special tokens are ordinary text; a token that only
  ///   partly lies in one is none either.
  func segments(of text: UnsafeBufferPointer<UInt8>, plain: [Range<Int>]) -> [Segment] {
    guard !isEmpty, let bytes = text.baseAddress else {
      return text.isEmpty ? [] : [Segment(range: 0..<text.count, id: nil)]
    }
    var segments: [Segment] = []
    var done = 0
    var position = 0
    var nextPlain = 0
    var walked = 0
    var backward: BackwardTokenSearch.Result?
    // The run of white space that was looked at last.
    var space = 0..<0
    isFirstByte.withUnsafeBufferPointer { isFirstByte in
      while position < text.count {
        guard isFirstByte[Int(bytes[position])] else {
          position += 1
          continue
        }
        if walked > 4 * position + 1 << 16, backward == nil {
          backward = BackwardTokenSearch(texts).longestTokens(in: text, from: position)
        }
        let found: (token: AddedToken, length: Int)?
        if let backward {
          found = backward.token(at: position).map { (tokens[$0], texts[$0].count) }
        } else {
          found = longestMatch(in: text, at: position, &walked)
        }
        guard let (token, length) = found else {
          position += 1
          continue
        }
        var start = position
        var end = position + length

        while nextPlain < plain.count, plain[nextPlain].upperBound <= start { nextPlain += 1 }
        if token.special, nextPlain < plain.count, plain[nextPlain].overlaps(start..<end) {
          // Inside plain text the whole match is passed over, as Hugging Face does; at its edge a
          // token of the text around it may still begin within the match.
          position = plain[nextPlain].contains(start..<end) ? end : start + 1
          continue
        }
        position = end
        if token.singleWord && !standsAlone(start..<end, in: text) { continue }
        if token.stripsLeft { start = startOfSpace(before: start, notBefore: done, in: bytes) }
        if token.stripsRight {
          if !space.contains(end) { space = end..<endOfSpace(after: end, in: text) }
          end = max(end, space.upperBound)
        }
        if done < start { segments.append(Segment(range: done..<start, id: nil)) }
        segments.append(Segment(range: start..<max(start, end), id: token.id))
        done = end
      }
    }
    if done < text.count { segments.append(Segment(range: done..<text.count, id: nil)) }
    return segments
  }

  private func longestMatch(
    in text: UnsafeBufferPointer<UInt8>, at start: Int, _ walked: inout Int
  ) -> (token: AddedToken, length: Int)? {
    var node: UInt32 = 0
    var position = start
    var found: (index: Int32, length: Int)?
    while position < text.count, let next = edges[UInt64(node) << 8 | UInt64(text[position])] {
      node = next
      position += 1
      if accepts[Int(node)] >= 0 { found = (accepts[Int(node)], position - start) }
    }
    walked += position - start
    return found.map { (tokens[Int($0.index)], $0.length) }
  }

  private func standsAlone(_ range: Range<Int>, in text: UnsafeBufferPointer<UInt8>) -> Bool {
    guard let bytes = text.baseAddress else { return true }
    func isWord(at position: Int) -> Bool {
      let scalar = UTF8Bytes.scalar(bytes, at: position).value
      return CharacterClasses.shared.bits(scalar) & CharacterClasses.word != 0
    }
    if range.lowerBound > 0,
      isWord(at: UTF8Bytes.start(ofScalarBefore: range.lowerBound, bytes))
    {
      return false
    }
    return range.upperBound == text.count || !isWord(at: range.upperBound)
  }

  /// - Parameter limit: not past it; what lies before it belongs to a token already.
  private func startOfSpace(
    before end: Int, notBefore limit: Int, in bytes: UnsafePointer<UInt8>
  ) -> Int {
    guard end > limit else { return limit }
    var position = end
    while position > limit {
      let start = UTF8Bytes.start(ofScalarBefore: position, bytes)
      let scalar = UTF8Bytes.scalar(bytes, at: start).value
      if CharacterClasses.shared.bits(scalar) & CharacterClasses.whiteSpace == 0 { break }
      position = start
    }
    return position
  }

  private func endOfSpace(after start: Int, in text: UnsafeBufferPointer<UInt8>) -> Int {
    guard let bytes = text.baseAddress else { return start }
    var position = start
    while position < text.count {
      let (scalar, length) = UTF8Bytes.scalar(bytes, at: position)
      if CharacterClasses.shared.bits(scalar) & CharacterClasses.whiteSpace == 0 { break }
      position += length
    }
    return position
  }
}

extension Range<Int> {
  fileprivate func contains(_ other: Range<Int>) -> Bool {
    lowerBound <= other.lowerBound && other.upperBound <= upperBound
  }
}
