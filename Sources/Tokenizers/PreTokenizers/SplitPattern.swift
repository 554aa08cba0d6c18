/// The regular expressions that byte-level tokenizers split by, each done by a scanner written for it.
///
/// A scanner reads each character about once, some thirty times faster than a regular-expression engine.
/// Every expression covers the whole text: its matches follow one another without a gap.
package enum SplitPattern: Sendable, Equatable {
  /// GPT-2, and ByteLevel with `use_regex`.
  case gpt2
  /// Llama 3, Qwen 2 and GLM 4: contractions, words with one leading character, numbers of at most so many
  /// digits, symbols with the line breaks after them, line breaks, white space.
  case words(maximumDigits: Int)

  /// The expressions as they stand in tokenizer.json.
  package static let known: [(expression: String, pattern: SplitPattern)] = [
    (
      #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#,
      .gpt2
    ),
    (
      #"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#,
      .gpt2
    ),
    (wordsExpression(digits: #"\p{N}{1,3}"#), .words(maximumDigits: 3)),
    (wordsExpression(digits: #"\p{N}"#), .words(maximumDigits: 1)),
    (wordsExpression(digits: #"\p{N}+"#), .words(maximumDigits: .max)),
  ]

  private static func wordsExpression(digits: String) -> String {
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"# + digits
      + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  }

  /// The pattern of a known expression.
  init?(expression: String) {
    // Compared as bytes: equality of strings would accept canonically equivalent expressions.
    let found = Self.known.first { $0.expression.utf8.elementsEqual(expression.utf8) }
    guard let found else { return nil }
    self = found.pattern
  }

  /// The pieces of a text.
  package func pieces(of text: [UInt8]) -> [[UInt8]] {
    var pieces = Pieces(text, beginsText: true)
    split(&pieces)
    return pieces.texts
  }

  /// Cuts every piece at the ends of its matches.
  func split(_ pieces: inout Pieces) {
    CharacterClasses.shared.withLookup { classes in
      pieces.split { text, piece, ends in
        guard let bytes = text.baseAddress else { return }
        let scanner = SplitScanner(bytes: bytes, end: piece.upperBound, classes: classes)
        var position = piece.lowerBound
        while position < piece.upperBound {
          switch self {
          case .gpt2: position = scanner.endOfGPT2Match(at: position)
          case .words(let maximumDigits):
            position = scanner.endOfWordsMatch(at: position, maximumDigits: maximumDigits)
          }
          ends.append(position)
        }
      }
    }
  }
}
