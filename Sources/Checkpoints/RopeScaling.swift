import JSON

/// How rotary position embeddings reach past the length a model was first trained on: the
/// `rope_scaling` of `config.json`, with every default filled in.
///
/// Source of the kinds, their fields and defaults: transformers, `modeling_rope_utils.py`.
public enum RopeScaling: Equatable, Sendable {
  /// Frequencies as `rope_theta` gives them.
  case none
  /// Every frequency divided by `factor`.
  case linear(factor: Double)
  /// Past `max_position_embeddings` the base grows with the length (dynamic NTK).
  case dynamic(factor: Double)
  /// Llama 3.1: low frequencies divided by `factor`, high ones kept, those between interpolated.
  case llama3(Llama3)
  /// YaRN: a ramp over the dimensions between kept and divided frequencies, and scaled attention.
  case yarn(Yarn)
  /// LongRoPE: every frequency divided by a searched factor of its own, from one list for short
  /// sequences and another for long ones, and scaled attention.
  case longRope(LongRope)
  /// Every frequency divided by a number of its own, whatever the length: how GGUF files state the
  /// scaling of Llama 3.1.
  case divisors([Double])

  public struct Llama3: Equatable, Sendable {
    public var factor: Double
    public var lowFrequencyFactor: Double
    public var highFrequencyFactor: Double
    public var originalMaxPositionEmbeddings: Int

    public init(
      factor: Double, lowFrequencyFactor: Double, highFrequencyFactor: Double,
      originalMaxPositionEmbeddings: Int
    ) {
      self.factor = factor
      self.lowFrequencyFactor = lowFrequencyFactor
      self.highFrequencyFactor = highFrequencyFactor
      self.originalMaxPositionEmbeddings = originalMaxPositionEmbeddings
    }
  }

  public struct Yarn: Equatable, Sendable {
    public var factor: Double
    public var originalMaxPositionEmbeddings: Int
    public var betaFast: Double
    public var betaSlow: Double
    /// Nil: not given.
    public var mscale: Double?
    /// Nil: not given.
    public var mscaleAllDimensions: Double?
    /// What cosines and sines are multiplied by; nil: it follows from `factor` and the two above.
    public var attentionFactor: Double?
    /// Whether the ends of the ramp are rounded outwards to whole dimensions.
    public var truncate: Bool

    public init(
      factor: Double, originalMaxPositionEmbeddings: Int, betaFast: Double = 32,
      betaSlow: Double = 1, mscale: Double? = nil, mscaleAllDimensions: Double? = nil,
      attentionFactor: Double? = nil, truncate: Bool = true
    ) {
      self.factor = factor
      self.originalMaxPositionEmbeddings = originalMaxPositionEmbeddings
      self.betaFast = betaFast
      self.betaSlow = betaSlow
      self.mscale = mscale
      self.mscaleAllDimensions = mscaleAllDimensions
      self.attentionFactor = attentionFactor
      self.truncate = truncate
    }
  }

  /// Source: LongRoPE, https://arxiv.org/abs/2402.13753.
  public struct LongRope: Equatable, Sendable {
    /// What the frequency of each pair is divided by in sequences of up to
    /// ``originalMaxPositionEmbeddings``.
    public var shortFactors: [Double]
    /// The same for longer sequences; as many.
    public var longFactors: [Double]
    public var originalMaxPositionEmbeddings: Int
    /// How many times the original length the model reaches.
    public var factor: Double
    /// What cosines and sines are multiplied by; nil: it follows from ``factor``.
    public var attentionFactor: Double?

    public init(
      shortFactors: [Double], longFactors: [Double], originalMaxPositionEmbeddings: Int,
      factor: Double, attentionFactor: Double? = nil
    ) {
      self.shortFactors = shortFactors
      self.longFactors = longFactors
      self.originalMaxPositionEmbeddings = originalMaxPositionEmbeddings
      self.factor = factor
      self.attentionFactor = attentionFactor
    }
  }

  /// The names that `rope_type` may have; "su" is an older one of LongRoPE.
  public static let knownTypes = [
    "default", "linear", "dynamic", "llama3", "yarn", "longrope", "su",
  ]
}

/// What `rope_scaling`, `rope_parameters` and the fields beside them say.
struct RopeFields {
  var theta: Double
  var scaling: RopeScaling
  /// nil: not given.
  var partialRotaryFactor: Double?

  /// `rope_parameters` is where transformers 5 keeps everything; before that `rope_scaling` held the
  /// kind, and `rope_theta` stood beside it.
  init(_ fields: FieldReader, maxPositionEmbeddings: Int) throws(CheckpointError) {
    let parameters = try fields.object("rope_parameters")
    let olderScaling = try fields.object("rope_scaling")
    let thetaRange = 1.0...1e15
    let outerTheta = try fields.number("rope_theta", in: thetaRange)
    let innerTheta = try parameters?.number("rope_theta", in: thetaRange)
    theta = innerTheta ?? outerTheta ?? 10_000
    let partialRange = 1e-3...1.0
    let outerPartial = try fields.number("partial_rotary_factor", in: partialRange)
    let innerPartial = try parameters?.number("partial_rotary_factor", in: partialRange)
    partialRotaryFactor = innerPartial ?? outerPartial
    scaling = .none
    guard let nested = parameters ?? olderScaling else { return }
    for kind in ["full_attention", "sliding_attention"] where nested.value(kind) != nil {
      throw nested.failure(kind, "gives each kind of layer its own rotary embedding: not supported")
    }
    // Phi-3 keeps the original length outside, and transformers lets that one win.
    let lengths = 1...ModelConfiguration.maximumLength
    let outerLength = try fields.integer("original_max_position_embeddings", in: lengths)
    let innerLength = try nested.integer("original_max_position_embeddings", in: lengths)
    scaling = try Self.scaling(
      nested, givenLength: outerLength ?? innerLength,
      maxPositionEmbeddings: maxPositionEmbeddings)
  }

  private static func scaling(
    _ fields: FieldReader, givenLength: Int?, maxPositionEmbeddings: Int
  ) throws(CheckpointError) -> RopeScaling {
    let originalLength = givenLength ?? maxPositionEmbeddings
    let factors = 1e-6...1e9
    let factor = try fields.number("factor", in: factors)
    let olderType = try fields.string("type")
    switch try fields.string("rope_type") ?? olderType ?? "default" {
    case "default":
      return .none
    case "linear":
      return .linear(factor: try fields.required("factor", factor))
    case "dynamic":
      return .dynamic(factor: try fields.required("factor", factor))
    case "llama3":
      let low = try fields.number("low_freq_factor", in: factors)
      let high = try fields.number("high_freq_factor", in: factors)
      let scaling = RopeScaling.Llama3(
        factor: try fields.required("factor", factor),
        lowFrequencyFactor: try fields.required("low_freq_factor", low),
        highFrequencyFactor: try fields.required("high_freq_factor", high),
        originalMaxPositionEmbeddings: originalLength)
      guard scaling.lowFrequencyFactor < scaling.highFrequencyFactor else {
        throw fields.failure(
          "low_freq_factor",
          "is \(scaling.lowFrequencyFactor): it should be less than high_freq_factor, "
            + "\(scaling.highFrequencyFactor)")
      }
      return .llama3(scaling)
    case "longrope", "su":
      return try longRope(
        fields, factor: factor, givenLength: givenLength,
        maxPositionEmbeddings: maxPositionEmbeddings)
    case "yarn" where fields.value("long_factor") != nil:
      // What the first Phi-3 files call LongRoPE.
      return try longRope(
        fields, factor: factor, givenLength: givenLength,
        maxPositionEmbeddings: maxPositionEmbeddings)
    case "yarn":
      return .yarn(
        .init(
          factor: factor ?? Double(maxPositionEmbeddings) / Double(originalLength),
          originalMaxPositionEmbeddings: originalLength,
          betaFast: try fields.number("beta_fast", in: factors) ?? 32,
          betaSlow: try fields.number("beta_slow", in: factors) ?? 1,
          mscale: try fields.number("mscale", in: 0...1e6),
          mscaleAllDimensions: try fields.number("mscale_all_dim", in: 0...1e6),
          attentionFactor: try fields.number("attention_factor", in: 0...1e6),
          truncate: try fields.boolean("truncate") ?? true))
    case let unknown:
      throw fields.failure(
        fields.value("rope_type") == nil ? "type" : "rope_type",
        "is \(quoted(unknown)): known are \(RopeScaling.knownTypes.joined(separator: ", "))")
    }
  }

  private static func longRope(
    _ fields: FieldReader, factor: Double?, givenLength: Int?, maxPositionEmbeddings: Int
  ) throws(CheckpointError) -> RopeScaling {
    let factors = 1e-6...1e9
    let original = try fields.required("original_max_position_embeddings", givenLength)
    let short = try fields.numbers("short_factor", in: factors)
    let long = try fields.numbers("long_factor", in: factors)
    let scaling = RopeScaling.LongRope(
      shortFactors: try fields.required("short_factor", short),
      longFactors: try fields.required("long_factor", long),
      originalMaxPositionEmbeddings: original,
      factor: factor ?? Double(maxPositionEmbeddings) / Double(original),
      attentionFactor: try fields.number("attention_factor", in: 0...1e6))
    guard scaling.shortFactors.count == scaling.longFactors.count else {
      throw fields.failure(
        "long_factor",
        "has \(scaling.longFactors.count) numbers: it should have as many as short_factor, "
          + "\(scaling.shortFactors.count)")
    }
    return .longRope(scaling)
  }
}
