public import Checkpoints

/// How the next token is chosen.
public struct SamplingOptions: Sendable, Equatable {
  /// Divides the logits; 0 always takes the most likely token.
  public var temperature: Float
  /// Keeps the `topK` most likely tokens; 0 keeps all.
  public var topK: Int
  /// Keeps the smallest set of most likely tokens with at least this probability; 1 keeps all.
  public var topP: Float
  /// Drops tokens below this share of the most likely one's probability; 0 drops none.
  public var minP: Float
  /// Divides positive and multiplies negative logits of tokens seen before; 1 changes nothing.
  public var repetitionPenalty: Float
  /// Equal seeds give equal choices; nil takes a new one.
  public var seed: UInt64?

  public init(
    temperature: Float = 0, topK: Int = 0, topP: Float = 1, minP: Float = 0,
    repetitionPenalty: Float = 1, seed: UInt64? = nil
  ) {
    self.temperature = temperature
    self.topK = topK
    self.topP = topP
    self.minP = minP
    self.repetitionPenalty = repetitionPenalty
    self.seed = seed
  }

  /// What a checkpoint's generation_config.json asks for; greedy where it does not ask for sampling.
  public init(_ generation: GenerationConfiguration) {
    self.init(
      temperature: generation.doSample == true ? Float(generation.temperature ?? 1) : 0,
      topK: generation.topK ?? 0, topP: Float(generation.topP ?? 1),
      minP: Float(generation.minP ?? 0),
      repetitionPenalty: Float(generation.repetitionPenalty ?? 1))
  }

  /// Throws ``TransformerError/invalidOption(name:value:allowed:)`` for the first number that makes no
  /// sense.
  public func validate() throws {
    func check(
      _ isValid: Bool, _ name: String, _ value: any CustomStringConvertible, _ allowed: String
    ) throws {
      if !isValid {
        throw TransformerError.invalidOption(
          name: name, value: value.description, allowed: allowed)
      }
    }
    try check(temperature >= 0 && temperature.isFinite, "the temperature", temperature, "0 or more")
    try check(topK >= 0, "top-k", topK, "0 or more")
    try check(topP > 0 && topP <= 1, "top-p", topP, "above 0, up to 1")
    try check(minP >= 0 && minP <= 1, "min-p", minP, "from 0 to 1")
    try check(
      repetitionPenalty > 0 && repetitionPenalty.isFinite, "the repetition penalty",
      repetitionPenalty, "above 0")
  }
}
