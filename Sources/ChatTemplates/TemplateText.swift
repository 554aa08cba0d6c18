/// A text whose parts know whether they come from a message's content or from the template.
///
/// Kept through joining, trimming, cutting and replacing, so that a control token that a user writes can be told
/// from one that the template writes.
struct TemplateText: Equatable {
  /// A part of one origin; never empty within a text.
  struct Run: Equatable {
    var bytes: ArraySlice<UInt8>
    /// Whether it is from a message's content.
    var isContent: Bool
  }

  private(set) var runs: [Run] = []

  init() {}

  init(_ string: String, isContent: Bool = false) {
    append(Array(string.utf8)[...], isContent: isContent)
  }

  /// All bytes; well-formed UTF-8.
  var bytes: [UInt8] { runs.count == 1 ? Array(runs[0].bytes) : runs.flatMap(\.bytes) }
  var string: String { String(decoding: bytes, as: UTF8.self) }
  var isEmpty: Bool { runs.isEmpty }
  var byteCount: Int { runs.reduce(0) { $0 + $1.bytes.count } }

  /// Length in Unicode scalars, as Python counts.
  var length: Int {
    runs.reduce(0) { $0 + $1.bytes.count { $0 & 0xC0 != 0x80 } }
  }

  mutating func append(_ bytes: ArraySlice<UInt8>, isContent: Bool) {
    guard !bytes.isEmpty else { return }
    if let last = runs.last, last.isContent == isContent {
      runs[runs.count - 1].bytes += bytes
    } else {
      runs.append(Run(bytes: bytes, isContent: isContent))
    }
  }

  static func += (left: inout TemplateText, right: TemplateText) {
    for run in right.runs { left.append(run.bytes, isContent: run.isContent) }
  }

  static func + (left: TemplateText, right: TemplateText) -> TemplateText {
    var sum = left
    sum += right
    return sum
  }

  /// Equal texts, whatever their origin.
  func hasSameBytes(as other: TemplateText) -> Bool { bytes == other.bytes }

  /// The part between two byte offsets, which must be borders of characters.
  func part(_ range: Range<Int>) -> TemplateText {
    var result = TemplateText()
    var start = 0
    for run in runs {
      let end = start + run.bytes.count
      let (from, to) = (max(range.lowerBound, start), min(range.upperBound, end))
      if from < to {
        let first = run.bytes.startIndex - start
        result.append(run.bytes[first + from..<first + to], isContent: run.isContent)
      }
      start = end
    }
    return result
  }

  /// The byte offset of every character, and the end.
  func characterOffsets() -> [Int] {
    var offsets: [Int] = []
    for (offset, byte) in bytes.enumerated() where byte & 0xC0 != 0x80 { offsets.append(offset) }
    return offsets + [byteCount]
  }

  /// Without the white space (or the characters of `set`) at its ends, as Python's `strip`.
  func stripped(start: Bool = true, end: Bool = true, of set: [UInt8]? = nil) -> TemplateText {
    let scalars = Set((set.map { String(decoding: $0, as: UTF8.self) } ?? "").unicodeScalars)
    func isStripped(_ scalar: Unicode.Scalar) -> Bool {
      if set != nil { return scalars.contains(scalar) }
      // Python also counts the four information separators as white space.
      return scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
    }
    let scalarsOfText = string.unicodeScalars
    var (first, last) = (0, byteCount)
    if start {
      for scalar in scalarsOfText.prefix(while: isStripped) { first += Unicode.UTF8.width(scalar) }
    }
    if end {
      for scalar in scalarsOfText.reversed().prefix(while: isStripped) where last > first {
        last -= Unicode.UTF8.width(scalar)
      }
    }
    return part(first..<last)
  }

  /// The byte offsets at which `pattern` occurs, left to right, not overlapping.
  func occurrences(of pattern: [UInt8]) -> [Int] {
    let text = bytes
    guard !pattern.isEmpty else { return [] }
    var offsets: [Int] = []
    var position = 0
    while position + pattern.count <= text.count {
      if text[position] == pattern[0],
        text[position..<position + pattern.count].elementsEqual(pattern)
      {
        offsets.append(position)
        position += pattern.count
      } else {
        position += 1
      }
    }
    return offsets
  }

  /// With every occurrence of `pattern` replaced.
  func replacing(_ pattern: [UInt8], with content: TemplateText) -> TemplateText {
    var result = TemplateText()
    var position = 0
    for start in occurrences(of: pattern) {
      result += part(position..<start)
      result += content
      position = start + pattern.count
    }
    result += part(position..<byteCount)
    return result
  }

  /// The parts between occurrences of `separator`, at most `limit` cuts.
  func split(by separator: [UInt8], limit: Int = .max) -> [TemplateText] {
    var result: [TemplateText] = []
    var position = 0
    for start in occurrences(of: separator).prefix(limit) {
      result.append(part(position..<start))
      position = start + separator.count
    }
    result.append(part(position..<byteCount))
    return result
  }

  /// The parts between runs of white space, as Python's `split()`.
  func splitAtWhiteSpace() -> [TemplateText] {
    var result: [TemplateText] = []
    var start: Int?
    var position = 0
    for scalar in string.unicodeScalars {
      let isSpace = scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
      if isSpace, let from = start {
        result.append(part(from..<position))
        start = nil
      } else if !isSpace, start == nil {
        start = position
      }
      position += Unicode.UTF8.width(scalar)
    }
    if let start { result.append(part(start..<position)) }
    return result
  }

  /// Every run mapped, its origin kept.
  func mapRuns(_ body: (String) -> String) -> TemplateText {
    var result = TemplateText()
    for run in runs {
      result.append(
        Array(body(String(decoding: run.bytes, as: UTF8.self)).utf8)[...], isContent: run.isContent)
    }
    return result
  }
}
