/// A part of a piece: a match of a pattern, or what lies between two.
struct DelimitedSegment: Equatable {
  var range: Range<Int>
  var isMatch: Bool
}

/// What becomes of matches; the names are tokenizer.json's.
enum DelimiterBehavior: String, Sendable {
  case removed = "Removed"
  case isolated = "Isolated"
  case mergedWithPrevious = "MergedWithPrevious"
  case mergedWithNext = "MergedWithNext"
  case contiguous = "Contiguous"

  /// Reads a behaviour, in the spelling of either of Hugging Face's versions.
  init(_ node: JSONNode) throws(TokenizerError) {
    let name = try node.string()
    guard let behavior = Self(rawValue: name) else {
      throw node.unsupported("is \"\(name)\", which is not known")
    }
    self = behavior
  }

  /// The parts that segments become, as Hugging Face's `SplitDelimiterBehavior` makes them; empty ones are left
  /// out.
  func parts(of segments: [DelimitedSegment]) -> [Part] {
    var parts: [Part] = []
    var previousIsMatch = false
    switch self {
    case .removed: parts = segments.map { Part(range: $0.range, isRemoved: $0.isMatch) }
    case .isolated: parts = segments.map { Part(range: $0.range) }
    case .mergedWithPrevious:
      for segment in segments {
        if segment.isMatch, !previousIsMatch, !parts.isEmpty {
          let last = parts.count - 1
          parts[last].range = parts[last].range.lowerBound..<segment.range.upperBound
        } else {
          parts.append(Part(range: segment.range))
        }
        previousIsMatch = segment.isMatch
      }
    case .mergedWithNext:
      for segment in segments.reversed() {
        if segment.isMatch, !previousIsMatch, !parts.isEmpty {
          let last = parts.count - 1
          parts[last].range = segment.range.lowerBound..<parts[last].range.upperBound
        } else {
          parts.append(Part(range: segment.range))
        }
        previousIsMatch = segment.isMatch
      }
      parts.reverse()
    case .contiguous:
      for segment in segments {
        if segment.isMatch == previousIsMatch, !parts.isEmpty {
          let last = parts.count - 1
          parts[last].range = parts[last].range.lowerBound..<segment.range.upperBound
        } else {
          parts.append(Part(range: segment.range))
        }
        previousIsMatch = segment.isMatch
      }
    }
    return parts.filter { !$0.range.isEmpty }
  }

  struct Part: Equatable {
    var range: Range<Int>
    var isRemoved = false
  }
}

/// What a text is split at.
enum DelimiterPattern: Sendable {
  case literal([UInt8])
  case expression(SplitExpression)
  /// Every single scalar with one of these class bits.
  case classBits(UInt8)
  /// Every single scalar of a set.
  case scalars(ScalarSet)
  /// Every longest run of word characters, and of characters that are neither that nor white space.
  case wordsAndSymbols

  /// Reads `{"String": …}` or `{"Regex": …}`.
  init(_ node: JSONNode) throws(TokenizerError) {
    if node["Regex"].isPresent {
      self = .expression(try SplitExpression(node["Regex"]))
    } else {
      let literal = try node["String"].text()
      if literal.isEmpty { throw node.unsupported("is empty") }
      guard literal.count <= LiteralReplacement.longestPattern else {
        throw node.unsupported(
          "has \(literal.count) bytes, past the limit of \(LiteralReplacement.longestPattern)")
      }
      self = .literal(literal)
    }
  }

  /// Calls `body` with the segments of every piece.
  ///
  /// - Parameter isInverted: what lies between matches counts as match and the matches do not.
  func forEachPiece(
    of pieces: Pieces, isInverted: Bool = false, _ body: ([DelimitedSegment]) -> Void
  ) {
    var segments: [DelimitedSegment] = []
    var last = 0
    forEachMatch(in: pieces) { match in
      if last < match.lowerBound {
        segments.append(DelimitedSegment(range: last..<match.lowerBound, isMatch: isInverted))
      }
      segments.append(DelimitedSegment(range: match, isMatch: !isInverted))
      last = match.upperBound
    } finish: { end in
      if last < end { segments.append(DelimitedSegment(range: last..<end, isMatch: isInverted)) }
      body(segments)
      segments.removeAll(keepingCapacity: true)
      last = end
    }
  }

  /// The ends of all parts, where matches and what lies between them are parts alike.
  func isolatedEnds(in pieces: Pieces) -> [Int] {
    var ends: [Int] = []
    ends.reserveCapacity(max(pieces.ends.count, pieces.bytes.count / 4))
    var last = 0
    forEachMatch(in: pieces) { match in
      if last < match.lowerBound { ends.append(match.lowerBound) }
      if !match.isEmpty { ends.append(match.upperBound) }
      last = match.upperBound
    } finish: { end in
      if last < end { ends.append(end) }
      last = end
    }
    return ends
  }

  /// Calls `add` with every match, and `finish` with the end of every piece after its matches.
  private func forEachMatch(
    in pieces: Pieces, _ add: (Range<Int>) -> Void, finish: (_ end: Int) -> Void
  ) {
    var last = 0
    func next(_ end: Int) {
      finish(end)
      last = end
    }
    pieces.bytes.withUnsafeBufferPointer { text in
      guard let bytes = text.baseAddress else { return }
      switch self {
      case .literal(let literal):
        for end in pieces.ends {
          MatchFinder.literal(literal, in: text, last..<end, add)
          next(end)
        }
      case .expression(let expression):
        var matcher = expression.makeMatcher()
        for end in pieces.ends {
          matcher.forEachMatch(in: bytes, last..<end, add)
          next(end)
        }
      case .scalars(let set):
        for end in pieces.ends {
          var position = last
          while position < end {
            let (scalar, length) = UTF8Bytes.scalar(bytes, at: position)
            if set.contains(scalar) { add(position..<position + length) }
            position += length
          }
          next(end)
        }
      case .wordsAndSymbols:
        CharacterClasses.shared.withLookup { classes in
          func kind(_ position: Int) -> UInt8 {
            classes.bits(UTF8Bytes.scalar(bytes, at: position).value)
              & (CharacterClasses.word | CharacterClasses.whiteSpace)
          }
          for end in pieces.ends {
            var position = last
            while position < end {
              let first = kind(position)
              let start = position
              while position < end, kind(position) == first {
                position += UTF8Bytes.length(lead: bytes[position])
              }
              if first & CharacterClasses.whiteSpace == 0 { add(start..<position) }
            }
            next(end)
          }
        }
      case .classBits(let bits):
        CharacterClasses.shared.withLookup { classes in
          for end in pieces.ends {
            var position = last
            while position < end {
              let (scalar, length) = UTF8Bytes.scalar(bytes, at: position)
              if classes.bits(scalar) & bits != 0 { add(position..<position + length) }
              position += length
            }
            next(end)
          }
        }
      }
    }
  }
}

/// Where a literal lies within a text.
enum MatchFinder {
  /// The occurrences of a literal, left to right, not overlapping.
  static func literal(
    _ literal: [UInt8], in text: UnsafeBufferPointer<UInt8>, _ piece: Range<Int>,
    _ body: (Range<Int>) -> Void
  ) {
    var position = piece.lowerBound
    while position + literal.count <= piece.upperBound {
      if text[position] == literal[0],
        text[position..<position + literal.count].elementsEqual(literal)
      {
        body(position..<position + literal.count)
        position += literal.count
      } else {
        position += 1
      }
    }
  }
}

extension Pieces {
  /// Cuts every piece at the matches of a pattern.
  mutating func split(
    at pattern: DelimiterPattern, _ behavior: DelimiterBehavior, isInverted: Bool = false
  ) {
    if behavior == .isolated {
      ends = pattern.isolatedEnds(in: self)
      return
    }
    var parts: [DelimiterBehavior.Part] = []
    pattern.forEachPiece(of: self, isInverted: isInverted) { parts += behavior.parts(of: $0) }
    guard parts.contains(where: \.isRemoved) else {
      ends = parts.map(\.range.upperBound)
      return
    }
    var kept: [UInt8] = []
    kept.reserveCapacity(bytes.count)
    ends.removeAll(keepingCapacity: true)
    for part in parts where !part.isRemoved {
      kept += bytes[part.range]
      ends.append(kept.count)
    }
    bytes = kept
  }
}
