public import Compute

/// The fallback reads logits where they lie: the processor is the host.
extension CPUBackend {
  public func scoreTokens(
    logits: Tensor, next: [Int32]
  ) throws -> (likeliest: [Int32], logProbabilities: [Float]) {
    try fallback.scoreTokens(logits: logits, next: next, memory: self)
  }

  public func divergences(of logits: Tensor, from reference: Tensor) throws -> [Float] {
    try fallback.divergences(of: logits, from: reference, memory: self)
  }

  public func mostLikely(_ logits: Tensor) throws -> [Int32?] {
    try fallback.mostLikely(logits, memory: self)
  }

  public func draw(_ draw: TokenDraw, from logits: Tensor, random: [UInt64]) throws -> [Int32?] {
    try fallback.draw(draw, from: logits, random: random, memory: self)
  }

  public func penalize(_ ids: [Int32], in logits: Tensor, by penalty: Float) throws {
    try fallback.penalize(ids, in: logits, by: penalty, memory: self)
  }
}
