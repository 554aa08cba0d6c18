/// Finds the matches of the known split patterns in well-formed UTF-8.
///
/// The functions try the alternatives of their expression in its order; the comments quote them.
struct SplitScanner {
  let bytes: UnsafePointer<UInt8>
  /// Where the text ends; nothing at or past it is read.
  let end: Int
  let classes: CharacterClasses.Lookup

  private static let letter = CharacterClasses.letter
  private static let number = CharacterClasses.number
  private static let space = CharacterClasses.whiteSpace
  private static let wordOrSpace = letter | number | space

  /// Class bits and length of the character at `position`; no bits and no length at the end.
  @inline(__always)
  private func character(at position: Int) -> (bits: UInt8, length: Int) {
    guard position < end else { return (0, 0) }
    let (scalar, length) = UTF8Bytes.scalar(bytes, at: position)
    return (classes.bits(scalar), length)
  }

  /// Past the run of characters that have one of the bits.
  @inline(__always)
  private func endOfRun(of bits: UInt8, from start: Int) -> Int {
    var position = start
    while true {
      let next = character(at: position)
      if next.bits & bits == 0 { return position }
      position += next.length
    }
  }

  /// Past the run of characters that are neither letters, numbers nor white space.
  @inline(__always)
  private func endOfSymbols(from start: Int) -> Int {
    var position = start
    while true {
      let next = character(at: position)
      if next.length == 0 || next.bits & Self.wordOrSpace != 0 { return position }
      position += next.length
    }
  }

  @inline(__always)
  private func isLineBreak(_ position: Int) -> Bool {
    bytes[position] == 0x0A || bytes[position] == 0x0D
  }

  /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,n}| ?[^\s\p{L}\p{N}]+[\r\n]*|`
  /// `\s*[\r\n]+|\s+(?!\S)|\s+`
  @inline(__always)
  func endOfWordsMatch(at start: Int, maximumDigits: Int) -> Int {
    let first = character(at: start)
    if bytes[start] == 0x27, let contraction = endOfContraction(at: start, ignoringCase: true) {
      return contraction
    }

    // [^\r\n\p{L}\p{N}]?\p{L}+
    let afterFirst = start + first.length
    if first.bits & Self.letter != 0 { return endOfRun(of: Self.letter, from: afterFirst) }
    if first.bits & Self.number != 0 {
      // \p{N}{1,n}
      var position = afterFirst
      var digits = 1
      while digits < maximumDigits {
        let next = character(at: position)
        if next.bits & Self.number == 0 { break }
        position += next.length
        digits += 1
      }
      return position
    }
    let second = character(at: afterFirst)
    if second.bits & Self.letter != 0, !isLineBreak(start) {
      return endOfRun(of: Self.letter, from: afterFirst + second.length)
    }

    // ?[^\s\p{L}\p{N}]+[\r\n]*
    let symbols = bytes[start] == 0x20 ? afterFirst : start
    let afterSymbols = endOfSymbols(from: symbols)
    if afterSymbols > symbols {
      var position = afterSymbols
      while position < end, isLineBreak(position) { position += 1 }
      return position
    }

    // \s*[\r\n]+ reaches to the last line break of the white space.
    let afterSpace = endOfRun(of: Self.space, from: afterFirst)
    var lineBreak = afterSpace
    while lineBreak > start {
      if isLineBreak(lineBreak - 1) { return lineBreak }
      lineBreak -= 1
    }
    return endOfSpaces(from: start, to: afterSpace)
  }

  /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
  @inline(__always)
  func endOfGPT2Match(at start: Int) -> Int {
    if bytes[start] == 0x27, let contraction = endOfContraction(at: start, ignoringCase: false) {
      return contraction
    }
    let body = bytes[start] == 0x20 ? start + 1 : start
    let first = character(at: body)
    if first.bits & Self.letter != 0 { return endOfRun(of: Self.letter, from: body) }
    if first.bits & Self.number != 0 { return endOfRun(of: Self.number, from: body) }
    let afterSymbols = endOfSymbols(from: body)
    if afterSymbols > body { return afterSymbols }
    return endOfSpaces(from: start, to: endOfRun(of: Self.space, from: start))
  }

  /// `\s+(?!\S)|\s+`: leaves the last white space to what follows it, unless there is only one.
  private func endOfSpaces(from start: Int, to afterSpace: Int) -> Int {
    if afterSpace == end { return afterSpace }
    let last = UTF8Bytes.start(ofScalarBefore: afterSpace, bytes)
    return last > start ? last : afterSpace
  }

  /// The end of `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll` or `'d` at an apostrophe.
  private func endOfContraction(at start: Int, ignoringCase: Bool) -> Int? {
    guard start + 1 < end else { return nil }
    let fold: UInt8 = ignoringCase ? 0x20 : 0
    let first = bytes[start + 1] | fold
    switch first {
    case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"):
      return start + 2
    case 0xC5 | fold where ignoringCase && bytes[start + 1] == 0xC5:
      // U+017F, the long s, is an s to a pattern that ignores case.
      return start + 2 < end && bytes[start + 2] == 0xBF ? start + 3 : nil
    case UInt8(ascii: "r"), UInt8(ascii: "v"), UInt8(ascii: "l"):
      guard start + 2 < end else { return nil }
      let second = bytes[start + 2] | fold
      let expected = first == UInt8(ascii: "l") ? UInt8(ascii: "l") : UInt8(ascii: "e")
      return second == expected ? start + 3 : nil
    default: return nil
    }
  }
}
