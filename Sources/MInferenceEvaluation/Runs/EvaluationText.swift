/// Text to measure on where none is given.
package enum EvaluationText {
  /// A chronicle of at least so many tokens, if a token has no more than eight bytes.
  package static func chronicle(tokens: Int, seed: UInt64 = 1) throws -> String {
    try Haystack.chronicle(seed: seed).sentences(bytes: 8 * tokens).joined()
  }
}
