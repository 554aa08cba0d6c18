package import MInference

/// The text of evaluations that are given none.
package enum EvaluationText {
  /// The chronicle that no task is written from.
  package static let calibrationSeed: UInt64 = 0xCA11

  /// A chronicle of at least so many tokens, if a token has no more than eight bytes.
  package static func chronicle(tokens: Int, seed: UInt64 = 1) throws -> String {
    try Haystack.chronicle(seed: seed).sentences(bytes: 8 * tokens).joined()
  }

  /// The first `count` tokens of a text, or of a chronicle.
  /// Throws ``RunError/textTooShort(tokens:wanted:)``.
  package static func tokens(
    _ count: Int, of text: String?, seed: UInt64, for model: LanguageModel
  ) throws -> [Int32] {
    let text = try text ?? chronicle(tokens: count, seed: seed)
    let ids = model.tokenizer.encode(text, specialTokens: .asText, addTemplate: false)
    guard ids.count >= count else {
      throw RunError.textTooShort(tokens: ids.count, wanted: count)
    }
    return Array(ids[..<count])
  }
}
