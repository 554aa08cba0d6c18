/// What logits say: scores, choices and penalties of tokens.
public protocol SamplingOperations: AnyObject, Sendable {
  /// For each row, the most likely token id (the lowest one if several tie) and the natural
  /// logarithm of the probability of the token that actually followed.
  ///
  /// logits: [rows, vocabulary] float32; next: rows, each in 0 ..< vocabulary, or negative where
  /// nothing followed (then 0). Throws ``ComputeError/shapeMismatch(operation:detail:)`` for ids or
  /// shapes that do not fit.
  func scoreTokens(
    logits: Tensor, next: [Int32]
  ) throws -> (likeliest: [Int32], logProbabilities: [Float])

  /// For each row, the Kullback-Leibler divergence of the distribution of `logits` from that of
  /// `reference`: the sum over ids of p (ln p - ln q), p the softmax of the reference, q that of the
  /// logits; in nats, at least 0, and exactly 0 for equal rows. Ids without probability in the
  /// reference add nothing. NaN for a row with NaN or positive infinity. Both [rows, vocabulary]
  /// float32. Waits.
  func divergences(of logits: Tensor, from reference: Tensor) throws -> [Float]

  /// For each row of logits, [rows, vocabulary] float32, the id of the largest one, the lowest of
  /// equals; nil for a row with NaN or positive infinity, or with negative infinity alone. Waits.
  func mostLikely(_ logits: Tensor) throws -> [Int32?]

  /// For each row of logits, [rows, vocabulary] float32, the id that its 64 random bits draw; nil for
  /// a row as above. The same on every backend, bit for bit. Waits.
  func draw(_ draw: TokenDraw, from logits: Tensor, random: [UInt64]) throws -> [Int32?]

  /// Divides the logits of these ids by the penalty where they are positive, and multiplies them
  /// otherwise, in every row of [rows, vocabulary] float32. ids: distinct, each in 0 ..< vocabulary.
  func penalize(_ ids: [Int32], in logits: Tensor, by penalty: Float) throws
}
