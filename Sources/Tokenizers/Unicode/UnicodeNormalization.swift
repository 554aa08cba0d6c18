/// The forms of Unicode normalization (UAX #15).
enum NormalizationForm: Sendable {
  case nfc, nfd, nfkc, nfkd

  var composes: Bool { self == .nfc || self == .nfkc }
  var isCompatible: Bool { self == .nfkc || self == .nfkd }
  /// By how much it can make a text longer: U+1D160 and U+0390, U+FDFA.
  var growth: Double { isCompatible ? 11 : 3 }

  /// Normalizes well-formed UTF-8 in place.
  func normalize(_ text: inout [UInt8]) {
    switch self {
    case .nfc: UnicodeNormalization.nfc.normalize(&text)
    case .nfd: UnicodeNormalization.nfd.normalize(&text)
    case .nfkc: UnicodeNormalization.nfkc.normalize(&text)
    case .nfkd: UnicodeNormalization.nfkd.normalize(&text)
    }
  }
}

/// One form of Unicode normalization over UTF-8, linear in the text but for runs of combining marks.
///
/// Text is copied as it is up to the first scalar that could change; only the run around it (from the
/// starter before it up to the next scalar that nothing composes with) is decomposed, ordered and composed.
struct UnicodeNormalization: Sendable {
  // The tables, built from `NormalizationData.swift` and `CompatibilityData.swift` at first use.
  static let nfc = UnicodeNormalization(.nfc)
  static let nfd = UnicodeNormalization(.nfd)
  static let nfkc = UnicodeNormalization(.nfkc)
  static let nfkd = UnicodeNormalization(.nfkd)

  private let form: NormalizationForm
  /// No scalar whose first byte is less is unstable.
  private let firstUnstableByte: UInt8
  /// A bit for each scalar that is a non-starter, composes with what precedes it, or never stays itself.
  private var unstable = [UInt64](repeating: 0, count: 0x110000 / 64)
  private var combiningClasses: [UInt32: UInt8] = [:]
  /// One step; a second scalar of 0 means that there is none.
  private var decompositions: [UInt32: (first: UInt32, second: UInt32)] = [:]
  private var compositions: [UInt64: UInt32] = [:]

  /// Full decompositions that are not canonical.
  private var compatibilityDecompositions: [UInt32: [UInt32]] = [:]

  private init(_ form: NormalizationForm) {
    self.form = form
    // U+0300 is CC 80; other forms change scalars from U+00A0 on.
    firstUnstableByte = form == .nfc ? 0xCC : 0xC2
    var start = 0
    var current = 0
    for (scalar, value) in UnicodeData.transitions(combiningClassTransitions) + [(0x110000, 0)] {
      if current != 0 {
        for member in start..<scalar {
          combiningClasses[UInt32(member)] = UInt8(current)
          markUnstable(UInt32(member))
        }
      }
      (start, current) = (scalar, value)
    }

    var scalar: UInt32 = 0
    for word in UnicodeData.words(canonicalDecompositions) {
      if word.first == UInt8(ascii: "@") {
        scalar = UInt32(UnicodeData.hexadecimal(word.dropFirst()))
        continue
      }
      let parts = word.split { $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "*") }
      let first = UInt32(UnicodeData.hexadecimal(parts[0]))
      let second = parts.count > 1 ? UInt32(UnicodeData.hexadecimal(parts[1])) : 0
      decompositions[scalar] = (first, second)
      if word.contains(UInt8(ascii: "+")) {
        compositions[UInt64(first) << 32 | UInt64(second)] = scalar
        markUnstable(second)
        if !form.composes { markUnstable(scalar) }
      } else {
        markUnstable(scalar)
      }
      scalar += 1
    }
    if form.isCompatible { readCompatibilityDecompositions() }
    if !form.composes {
      for syllable in Hangul.firstSyllable..<Hangul.firstSyllable + Hangul.syllables {
        markUnstable(syllable)
      }
    }
    for vowel in Hangul.firstVowel..<Hangul.firstVowel + Hangul.vowels { markUnstable(vowel) }
    for final in Hangul.firstFinal + 1..<Hangul.firstFinal + Hangul.finals { markUnstable(final) }
  }

  private mutating func readCompatibilityDecompositions() {
    var scalar: UInt32 = 0
    for word in UnicodeData.words(Tokenizers.compatibilityDecompositions) {
      if word.first == UInt8(ascii: "@") {
        scalar = UInt32(UnicodeData.hexadecimal(word.dropFirst()))
        continue
      }
      compatibilityDecompositions[scalar] = word.split(separator: UInt8(ascii: "+")).map {
        UInt32(UnicodeData.hexadecimal($0))
      }
      markUnstable(scalar)
      scalar += 1
    }
  }

  private mutating func markUnstable(_ scalar: UInt32) {
    unstable[Int(scalar >> 6)] |= 1 << UInt64(scalar & 63)
  }

  private func isUnstable(_ scalar: UInt32) -> Bool {
    unstable[Int(scalar >> 6)] >> UInt64(scalar & 63) & 1 != 0
  }

  /// Normalizes well-formed UTF-8; returns false, leaving `text` alone, when nothing in it can change.
  @discardableResult
  func normalize(_ text: inout [UInt8]) -> Bool {
    guard let normalized = text.withUnsafeBufferPointer({ normalized($0) }) else { return false }
    text = normalized
    return true
  }

  private func normalized(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
    guard let bytes = text.baseAddress else { return nil }
    var output: [UInt8] = []
    var copied = 0
    var boundary = 0
    var position = 0
    while position < text.count {
      if bytes[position] < firstUnstableByte {
        boundary = position
        position += bytes[position] < 0x80 ? 1 : 2
        continue
      }
      let (scalar, length) = UTF8Bytes.scalar(bytes, at: position)
      guard isUnstable(scalar) else {
        boundary = position
        position += length
        continue
      }

      var run: [UInt32] = []
      var end = boundary
      while end < text.count {
        let (scalar, length) = UTF8Bytes.scalar(bytes, at: end)
        if end > position && !isUnstable(scalar) { break }
        appendDecomposition(of: scalar, to: &run)
        end += length
      }
      if copied == 0 { output.reserveCapacity(text.count) }
      output.append(contentsOf: text[copied..<boundary])
      orderCanonically(&run)
      for scalar in form.composes ? composed(run) : run { UTF8Bytes.append(scalar, to: &output) }
      (copied, boundary, position) = (end, end, end)
    }
    if copied == 0 { return nil }
    output.append(contentsOf: text[copied...])
    return output
  }

  /// Appends the full decomposition of `scalar`.
  private func appendDecomposition(of scalar: UInt32, to run: inout [UInt32]) {
    if let full = compatibilityDecompositions[scalar] {
      run += full
    } else if let syllable = Hangul.decomposition(of: scalar) {
      run += syllable
    } else if let (first, second) = decompositions[scalar] {
      appendDecomposition(of: first, to: &run)
      if second != 0 { appendDecomposition(of: second, to: &run) }
    } else {
      run.append(scalar)
    }
  }

  /// Sorts every stretch of non-starters by combining class, keeping the order of equals.
  private func orderCanonically(_ run: inout [UInt32]) {
    var start = 0
    while start < run.count {
      guard combiningClasses[run[start]] != nil else {
        start += 1
        continue
      }
      var end = start
      var marks: [(class: UInt8, index: Int, scalar: UInt32)] = []
      while end < run.count, let combiningClass = combiningClasses[run[end]] {
        marks.append((combiningClass, end, run[end]))
        end += 1
      }
      marks.sort { ($0.class, $0.index) < ($1.class, $1.index) }
      for (offset, mark) in marks.enumerated() { run[start + offset] = mark.scalar }
      start = end
    }
  }

  /// Composes a run in canonical order: each scalar joins the last starter unless something between blocks it.
  private func composed(_ run: [UInt32]) -> [UInt32] {
    var result: [UInt32] = []
    result.reserveCapacity(run.count)
    var starter: Int?
    var lastClass: UInt8 = 0
    for scalar in run {
      let combiningClass = combiningClasses[scalar] ?? 0
      if let starter {
        let adjacent = starter == result.count - 1
        if adjacent || (lastClass < combiningClass),
          let composite = composition(of: result[starter], and: scalar)
        {
          result[starter] = composite
          continue
        }
      }
      result.append(scalar)
      lastClass = combiningClass
      if combiningClass == 0 { starter = result.count - 1 }
    }
    return result
  }

  private func composition(of first: UInt32, and second: UInt32) -> UInt32? {
    Hangul.composition(of: first, and: second)
      ?? compositions[UInt64(first) << 32 | UInt64(second)]
  }
}
