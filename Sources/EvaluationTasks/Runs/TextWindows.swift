/// Windows of a text: the same number of each length, evenly spaced.
public struct TextWindows: Sendable, Hashable {
  public var lengths: [Int]
  /// Windows of each length.
  public var windows: Int

  public init(lengths: [Int], windows: Int = 1) {
    self.lengths = lengths
    self.windows = windows
  }

  /// One of them.
  package struct Window: Sendable, Hashable {
    package var length: Int
    package var number: Int
    /// The window's first token in the text.
    package var start: Int

    /// Its tokens.
    package var range: Range<Int> { start..<start + length }
  }

  /// Where the windows of a length begin in a text of `tokens` tokens.
  package func starts(length: Int, tokens: Int) -> [Int] {
    guard windows > 1 else { return [0] }
    return (0..<windows).map { $0 * (tokens - length) / (windows - 1) }
  }

  /// All windows of a text, length by length. Throws ``RunError/textTooShort(tokens:wanted:)``.
  package func all(tokens: Int) throws -> [Window] {
    if let longest = lengths.max(), longest > tokens {
      throw RunError.textTooShort(tokens: tokens, wanted: longest)
    }
    return lengths.flatMap { length in
      starts(length: length, tokens: tokens).enumerated().map {
        Window(length: length, number: $0.offset, start: $0.element)
      }
    }
  }
}
