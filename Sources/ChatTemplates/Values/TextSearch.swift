/// Finding, cutting and replacing, as Python's methods of `str` do.
extension TemplateText {
  /// Without the white space (or the characters of `set`) at its ends.
  func stripped(start: Bool = true, end: Bool = true, of set: TemplateText? = nil) -> TemplateText {
    let scalars = set.map { Set($0.string.unicodeScalars) }
    func isStripped(_ scalar: Unicode.Scalar) -> Bool {
      scalars.map { $0.contains(scalar) } ?? scalar.isPythonSpace
    }
    let whole = string.unicodeScalars
    var (first, last) = (0, bytes.count)
    if start {
      for scalar in whole {
        guard isStripped(scalar) else { break }
        first += UTF8.width(scalar)
      }
    }
    if end {
      for scalar in whole.reversed() {
        guard last > first, isStripped(scalar) else { break }
        last -= UTF8.width(scalar)
      }
    }
    return part(first..<max(first, last))
  }

  /// The byte offsets at which `pattern` occurs, left to right, not overlapping.
  ///
  /// Linear in both lengths.
  func occurrences(of pattern: [UInt8], limit: Int = .max) -> [Int] {
    var offsets: [Int] = []
    guard !pattern.isEmpty, limit > 0, pattern.count <= bytes.count else { return offsets }
    if pattern.count == 1 {
      for (offset, byte) in bytes.enumerated() where byte == pattern[0] {
        offsets.append(offset)
        if offsets.count == limit { break }
      }
      return offsets
    }
    let borders = Self.borders(of: pattern)
    var matched = 0
    for (offset, byte) in bytes.enumerated() {
      while matched > 0, pattern[matched] != byte { matched = borders[matched - 1] }
      if pattern[matched] == byte { matched += 1 }
      if matched == pattern.count {
        offsets.append(offset + 1 - matched)
        if offsets.count == limit { break }
        matched = 0
      }
    }
    return offsets
  }

  /// The same from the right: the last `limit` occurrences that do not overlap, in ascending order.
  func lastOccurrences(of pattern: [UInt8], limit: Int) -> [Int] {
    let reversed = TemplateText(bytes.reversed(), isContent: false)
    return reversed.occurrences(of: pattern.reversed(), limit: limit).reversed()
      .map { bytes.count - $0 - pattern.count }
  }

  /// For every prefix the length of its longest proper border (Knuth, Morris and Pratt 1977).
  private static func borders(of pattern: [UInt8]) -> [Int] {
    var borders = [Int](repeating: 0, count: pattern.count)
    var length = 0
    for index in 1..<pattern.count {
      while length > 0, pattern[index] != pattern[length] { length = borders[length - 1] }
      if pattern[index] == pattern[length] { length += 1 }
      borders[index] = length
    }
    return borders
  }

  /// With the first `limit` occurrences of `pattern` replaced. An empty pattern occurs before every
  /// character and at the end.
  func replacing(_ pattern: [UInt8], with content: TemplateText, limit: Int) -> TemplateText {
    var result = TemplateText()
    result.isMarkup = isMarkup
    var position = 0
    let starts =
      pattern.isEmpty
      ? Array(characterOffsets().prefix(limit)) : occurrences(of: pattern, limit: limit)
    for start in starts {
      result.append(part(position..<start))
      result.append(content)
      position = start + pattern.count
    }
    result.append(part(position..<bytes.count))
    return result
  }

  /// How many bytes `replacing` writes.
  func replacedSize(_ pattern: [UInt8], with content: TemplateText, limit: Int) -> Int {
    let count =
      pattern.isEmpty ? min(limit, length + 1) : occurrences(of: pattern, limit: limit).count
    return bytes.count &+ count &* (content.bytes.count - pattern.count)
  }

  /// The parts between occurrences of `separator`, at most `limit` cuts, from the left or the right.
  func split(by separator: [UInt8], limit: Int, fromRight: Bool = false) -> [TemplateText] {
    var result: [TemplateText] = []
    var position = 0
    let starts =
      fromRight
      ? lastOccurrences(of: separator, limit: limit) : occurrences(of: separator, limit: limit)
    for start in starts {
      result.append(part(position..<start))
      position = start + separator.count
    }
    result.append(part(position..<bytes.count))
    return result
  }

  /// The parts between runs of white space, as `split()` and `rsplit()` without a separator.
  func splitAtWhiteSpace(limit: Int, fromRight: Bool = false) -> [TemplateText] {
    var words: [Range<Int>] = []
    var start: Int?
    forEachScalar { scalar, offset in
      if scalar.isPythonSpace {
        if let from = start { words.append(from..<offset) }
        start = nil
      } else if start == nil {
        start = offset
      }
    }
    if let start { words.append(start..<bytes.count) }
    if words.count > limit {
      // What is not cut keeps its inner white space.
      if fromRight {
        let rest = words.count - limit
        words = [words[0].lowerBound..<words[rest - 1].upperBound] + words[rest...]
        var first = part(0..<words[0].upperBound).stripped(start: false)
        first.isMarkup = isMarkup
        return [first] + words.dropFirst().map(part)
      }
      return words[..<limit].map(part) + [part(words[limit].lowerBound..<bytes.count)]
    }
    return words.map(part)
  }

  /// The lines, as `splitlines`.
  func lines(keepingEnds: Bool = false) -> [TemplateText] {
    var result: [TemplateText] = []
    var start = 0
    var afterReturn = false
    func isBreak(_ scalar: Unicode.Scalar) -> Bool {
      switch scalar.value {
      case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029: true
      default: false
      }
    }
    forEachScalar { scalar, offset in
      let end = offset + UTF8.width(scalar)
      if afterReturn, scalar == "\n" {
        // The second half of a line break: the line is there already.
        if keepingEnds, let last = result.popLast() { result.append(last + part(offset..<end)) }
        start = end
        afterReturn = false
        return
      }
      afterReturn = scalar == "\r"
      if isBreak(scalar) {
        result.append(part(start..<(keepingEnds ? end : offset)))
        start = end
      }
    }
    if start < bytes.count { result.append(part(start..<bytes.count)) }
    return result
  }
}
