/// Where matches lie within a piece.
enum MatchFinder {
  /// The occurrences of a literal, left to right, not overlapping.
  static func literal(
    _ literal: [UInt8], in text: UnsafeBufferPointer<UInt8>, _ piece: Range<Int>
  ) -> [Range<Int>] {
    var matches: [Range<Int>] = []
    var position = piece.lowerBound
    while position + literal.count <= piece.upperBound {
      if text[position] == literal[0],
        text[position..<position + literal.count].elementsEqual(literal)
      {
        matches.append(position..<position + literal.count)
        position += literal.count
      } else {
        position += 1
      }
    }
    return matches
  }

  /// The characters that are numbers, one by one.
  static func numbers(in text: UnsafeBufferPointer<UInt8>, _ piece: Range<Int>) -> [Range<Int>] {
    guard let bytes = text.baseAddress else { return [] }
    return CharacterClasses.shared.withLookup { classes in
      var matches: [Range<Int>] = []
      var position = piece.lowerBound
      while position < piece.upperBound {
        let (scalar, length) = UTF8Bytes.scalar(bytes, at: position)
        if classes.bits(scalar) & CharacterClasses.number != 0 {
          matches.append(position..<position + length)
        }
        position += length
      }
      return matches
    }
  }
}

/// Turns matches into cuts, as Hugging Face's `SplitDelimiterBehavior` does.
struct DelimiterCuts {
  let behavior: SplitStage.Behavior

  init(_ behavior: SplitStage.Behavior) { self.behavior = behavior }

  /// Appends the ends of the parts of `piece`.
  func append(_ matches: [Range<Int>], within piece: Range<Int>, to ends: inout [Int]) {
    var last = piece.lowerBound
    func cut(at position: Int) {
      if position > last {
        ends.append(position)
        last = position
      }
    }
    for (index, match) in matches.enumerated() {
      switch behavior {
      case .isolated, .removed:
        cut(at: match.lowerBound)
        cut(at: match.upperBound)
      case .mergedWithPrevious: cut(at: match.upperBound)
      case .mergedWithNext: cut(at: match.lowerBound)
      case .contiguous:
        if index == 0 || matches[index - 1].upperBound < match.lowerBound {
          cut(at: match.lowerBound)
        }
        if index + 1 == matches.count || matches[index + 1].lowerBound > match.upperBound {
          cut(at: match.upperBound)
        }
      }
    }
    cut(at: piece.upperBound)
  }
}
