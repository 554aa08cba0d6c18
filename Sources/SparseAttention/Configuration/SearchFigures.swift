import JSON

/// Figures of a search for a goal: the goal, and the figures of the chosen patterns on the choosing samples
/// (promised) and on held-out samples (validated).
public struct SearchFigures: Sendable, Equatable {
  /// Figures at one length, sparse beside dense.
  public struct Length: Sendable, Equatable {
    /// The requested length; prompts may be a little shorter.
    public var tokens: Int
    /// Mean Kullback-Leibler divergence of next-token distributions over sampled positions of texts,
    /// in nats, share of them with the same most likely token, and perplexity over dense attention's.
    public var divergence: Double
    public var sameShare: Double
    public var perplexityRatio: Double
    /// Tokens of the answers of retrieval prompts, those that would have been given, and those that
    /// dense attention would have given.
    public var answerTokens: Int
    public var answerTokensRight: Int
    public var answerTokensRightDense: Int
    /// Computed / causal pairs.
    public var density: Double
    /// Indices and attention kernel / dense attention kernel; whole prefill / whole dense prefill.
    public var attentionTime: Double
    public var prefillTime: Double

    public init(
      tokens: Int, divergence: Double, sameShare: Double, perplexityRatio: Double,
      answerTokens: Int, answerTokensRight: Int, answerTokensRightDense: Int, density: Double,
      attentionTime: Double, prefillTime: Double
    ) {
      self.tokens = tokens
      self.divergence = divergence
      self.sameShare = sameShare
      self.perplexityRatio = perplexityRatio
      self.answerTokens = answerTokens
      self.answerTokensRight = answerTokensRight
      self.answerTokensRightDense = answerTokensRightDense
      self.density = density
      self.attentionTime = attentionTime
      self.prefillTime = prefillTime
    }
  }

  /// In words: "KL at most 0.03".
  public var goal: String
  /// The name of the choice: a rule that all heads share, or "by head".
  public var choice: String
  /// Whether the validated figures keep the goal; nil where nothing was validated.
  public var isKept: Bool?
  public var promised: [Length]
  public var validated: [Length]

  public init(
    goal: String, choice: String, isKept: Bool?, promised: [Length], validated: [Length]
  ) {
    self.goal = goal
    self.choice = choice
    self.isKept = isKept
    self.promised = promised
    self.validated = validated
  }
}

extension SearchFigures {
  var json: JSONValue {
    var members: [(String, JSONValue)] = [
      ("goal", .string(goal)), ("choice", .string(choice)),
    ]
    if let isKept { members.append(("kept", .boolean(isKept))) }
    members.append(("promised", .array(promised.map(\.json))))
    members.append(("validated", .array(validated.map(\.json))))
    return .object(members)
  }

  /// nil for any other JSON value: the figures are informative, and planning does not use them.
  init?(_ value: JSONValue?) {
    guard let goal = value?["goal"]?.text, let choice = value?["choice"]?.text else { return nil }
    func lengths(_ name: String) -> [Length] {
      guard case .array(let found)? = value?[name] else { return [] }
      return found.compactMap(Length.init(_:))
    }
    var isKept: Bool?
    if case .boolean(let kept)? = value?["kept"] { isKept = kept }
    self.init(
      goal: goal, choice: choice, isKept: isKept, promised: lengths("promised"),
      validated: lengths("validated"))
  }
}

extension SearchFigures.Length {
  var json: JSONValue {
    /// Four digits, more than the samples resolve. JSON has no infinities.
    func number(_ value: Double) -> JSONValue {
      value.isFinite ? .number((value * 1e4).rounded() / 1e4) : .null
    }
    return .object([
      ("tokens", .integer(tokens)), ("kl", number(divergence)), ("same_argmax", number(sameShare)),
      ("perplexity_ratio", number(perplexityRatio)), ("answer_tokens", .integer(answerTokens)),
      ("answer_tokens_right", .integer(answerTokensRight)),
      ("answer_tokens_right_dense", .integer(answerTokensRightDense)),
      ("density", number(density)), ("attention_time", number(attentionTime)),
      ("prefill_time", number(prefillTime)),
    ])
  }

  init?(_ value: JSONValue) {
    guard let tokens = value["tokens"]?.int else { return nil }
    func number(_ name: String) -> Double { value[name]?.double ?? .nan }
    self.init(
      tokens: tokens, divergence: number("kl"), sameShare: number("same_argmax"),
      perplexityRatio: number("perplexity_ratio"),
      answerTokens: value["answer_tokens"]?.int ?? 0,
      answerTokensRight: value["answer_tokens_right"]?.int ?? 0,
      answerTokensRightDense: value["answer_tokens_right_dense"]?.int ?? 0,
      density: number("density"), attentionTime: number("attention_time"),
      prefillTime: number("prefill_time"))
  }
}
