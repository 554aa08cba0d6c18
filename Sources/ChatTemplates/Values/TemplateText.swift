/// A text whose parts know whether they come from a message's content or from the template.
///
/// Kept through joining, trimming, cutting and replacing, so that a control token that a user writes can be told
/// from one that the template writes.
struct TemplateText: Sendable {
  /// Where the bytes are from.
  private enum Origin: Sendable {
    case template
    case content
    /// Alternating stretches, the last of which ends where the text ends.
    case mixed([Stretch])
  }

  /// A stretch of one origin, from the end of the one before it.
  struct Stretch: Sendable {
    var end: Int
    var isContent: Bool
  }

  /// Well-formed UTF-8.
  private(set) var bytes: [UInt8]
  private var origin: Origin
  /// Whether `+` escapes what is added, as markupsafe does after the filters `escape` and `safe`.
  var isMarkup = false

  init() { self.init([], isContent: false) }

  init(_ string: String, isContent: Bool = false) {
    self.init(Array(string.utf8), isContent: isContent)
  }

  init(_ bytes: [UInt8], isContent: Bool) {
    self.bytes = bytes
    origin = isContent ? .content : .template
  }

  var string: String { String(decoding: bytes, as: UTF8.self) }
  /// The text as a name; nil where it is too long for one. Hashing and comparing strings
  /// normalises them, which may be made to take long.
  var name: String? { bytes.count <= TagLexer.longestName ? string : nil }
  var isEmpty: Bool { bytes.isEmpty }

  /// The stretches of alternating origin; none for an empty text.
  var stretches: [Stretch] {
    switch origin {
    case .template: isEmpty ? [] : [Stretch(end: bytes.count, isContent: false)]
    case .content: isEmpty ? [] : [Stretch(end: bytes.count, isContent: true)]
    case .mixed(let stretches): stretches
    }
  }

  // MARK: Building

  mutating func append(_ added: some Sequence<UInt8>, isContent: Bool) {
    let start = bytes.count
    bytes.append(contentsOf: added)
    guard bytes.count > start else { return }
    mark(end: bytes.count, from: start, isContent: isContent)
  }

  /// Says where the bytes from `start` on are from.
  private mutating func mark(end: Int, from start: Int, isContent: Bool) {
    switch origin {
    case .template where start == 0, .content where start == 0:
      origin = isContent ? .content : .template
    case .template:
      guard isContent else { return }
      origin = .mixed([
        Stretch(end: start, isContent: false), Stretch(end: end, isContent: true),
      ])
    case .content:
      guard !isContent else { return }
      origin = .mixed([
        Stretch(end: start, isContent: true), Stretch(end: end, isContent: false),
      ])
    case .mixed(var stretches):
      origin = .template  // So that the array is not copied.
      let last = stretches.count - 1
      if stretches[last].isContent == isContent {
        stretches[last].end = end
      } else {
        stretches.append(Stretch(end: end, isContent: isContent))
      }
      origin = .mixed(stretches)
    }
  }

  mutating func append(_ other: TemplateText) {
    let start = bytes.count
    bytes.append(contentsOf: other.bytes)
    var from = start
    for stretch in other.stretches {
      mark(end: start + stretch.end, from: from, isContent: stretch.isContent)
      from = start + stretch.end
    }
  }

  static func + (left: TemplateText, right: TemplateText) -> TemplateText {
    var sum = left
    sum.append(right)
    return sum
  }

  // MARK: Parts

  /// Whether the byte at an offset is from a message's content.
  private func isContent(at offset: Int) -> Bool {
    switch origin {
    case .template: return false
    case .content: return true
    case .mixed(let stretches): return stretches[Self.index(of: offset, in: stretches)].isContent
    }
  }

  /// The stretch that holds an offset.
  private static func index(of offset: Int, in stretches: [Stretch]) -> Int {
    var (low, high) = (0, stretches.count - 1)
    while low < high {
      let middle = (low + high) / 2
      if stretches[middle].end > offset { high = middle } else { low = middle + 1 }
    }
    return low
  }

  /// The part between two byte offsets, which must be borders of characters.
  func part(_ range: Range<Int>) -> TemplateText {
    if range == 0..<bytes.count { return self }
    var result = TemplateText()
    result.isMarkup = isMarkup
    guard !range.isEmpty else { return result }
    result.bytes = Array(bytes[range])
    guard case .mixed(let stretches) = origin else {
      result.origin = origin
      return result
    }
    var cut: [Stretch] = []
    var index = Self.index(of: range.lowerBound, in: stretches)
    while true {
      let end = min(stretches[index].end, range.upperBound)
      cut.append(
        Stretch(end: end - range.lowerBound, isContent: stretches[index].isContent))
      if end == range.upperBound { break }
      index += 1
    }
    result.origin = cut.count > 1 ? .mixed(cut) : cut[0].isContent ? .content : .template
    return result
  }

  /// The byte offset of every character, and the end.
  func characterOffsets() -> [Int] {
    var offsets: [Int] = []
    offsets.reserveCapacity(bytes.count + 1)
    for (offset, byte) in bytes.enumerated() where byte & 0xC0 != 0x80 { offsets.append(offset) }
    offsets.append(bytes.count)
    return offsets
  }

  /// Length in Unicode scalars, as Python counts.
  var length: Int { bytes.count { $0 & 0xC0 != 0x80 } }

  // MARK: Mapping

  /// Every scalar replaced by the bytes that `body` appends, their origin kept.
  func mapScalars(_ body: (Unicode.Scalar, inout [UInt8]) -> Void) -> TemplateText {
    var result = TemplateText()
    result.isMarkup = isMarkup
    result.bytes.reserveCapacity(bytes.count)
    var start = 0
    for stretch in stretches {
      let from = result.bytes.count
      let run = String(decoding: bytes[start..<stretch.end], as: UTF8.self)
      for scalar in run.unicodeScalars { body(scalar, &result.bytes) }
      if result.bytes.count > from {
        result.mark(end: result.bytes.count, from: from, isContent: stretch.isContent)
      }
      start = stretch.end
    }
    return result
  }

  /// The scalars and the byte offset of each.
  func forEachScalar(_ body: (Unicode.Scalar, Int) -> Void) {
    var offset = 0
    for scalar in string.unicodeScalars {
      body(scalar, offset)
      offset += UTF8.width(scalar)
    }
  }

  /// The same bytes, all of one origin: of content where any of them is, so that nothing made of
  /// a user's text counts as the template's.
  func withOrigin(of other: TemplateText) -> TemplateText {
    var result = self
    result.origin = other.stretches.contains(where: \.isContent) ? .content : .template
    return result
  }
}

extension Unicode.Scalar {
  /// White space as Python's `str` sees it: Unicode's, and the four information separators.
  var isPythonSpace: Bool {
    value < 0x80
      ? value == 0x20 || (0x09...0x0D).contains(value) || (0x1C...0x1F).contains(value)
      : properties.isWhitespace
  }
}

extension [UInt8] {
  mutating func append(_ scalar: Unicode.Scalar) {
    if scalar.isASCII {
      append(UInt8(truncatingIfNeeded: scalar.value))
    } else {
      append(contentsOf: UTF8.encode(scalar).map(Array.init) ?? [])
    }
  }
}
