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
///
/// `rope_parameters` is where transformers 5 keeps everything; before that `rope_scaling` held the kind, and
/// `rope_theta` stood beside it. Transformers 5 reads every mixture of the two: a `rope_scaling` that
/// is not empty wins over `rope_parameters`, and what stands in the one that won over what stands beside it.
/// Source: transformers 5.24, `modeling_rope_utils.py`, `convert_rope_params_to_dict`.
struct RopeFields {
  var theta: Double
  var scaling: RopeScaling
  /// nil: not given.
  var partialRotaryFactor: Double?
  /// Contradictions and which side counts, and names that the kind has no use for.
  var notices: [String] = []

  /// - Parameter absentOriginalLength: What a class with `original_max_position_embeddings` beside the
  ///   object gives to that field when it is absent; nil: the class has no such field.
  init(
    _ fields: FieldReader, maxPositionEmbeddings: Int, absentOriginalLength: Int?
  ) throws(CheckpointError) {
    let parameters = try fields.object("rope_parameters")
    let olderScaling = try fields.object("rope_scaling")
    let nested = olderScaling?.isEmpty == false ? olderScaling : parameters
    let thetaRange = 1.0...1e15
    let outerTheta = try fields.number("rope_theta", in: thetaRange)
    let innerTheta = try nested?.number("rope_theta", in: thetaRange)
    theta = innerTheta ?? outerTheta ?? 10_000
    let partialRange = 1e-3...1.0
    let outerPartial = try fields.number("partial_rotary_factor", in: partialRange)
    let innerPartial = try nested?.number("partial_rotary_factor", in: partialRange)
    partialRotaryFactor = innerPartial ?? outerPartial
    scaling = .none
    guard let nested else { return }
    for kind in ["full_attention", "sliding_attention"] where nested.value(kind) != nil {
      throw nested.failure(kind, "gives each kind of layer its own rotary embedding: not supported")
    }
    let lengths = 1...ModelConfiguration.maximumLength
    let innerLength = try nested.integer("original_max_position_embeddings", in: lengths)
    // Whatever the class, a length outside wins.
    let outerLength = try fields.integer("original_max_position_embeddings", in: lengths)
    let givenLength = outerLength ?? absentOriginalLength ?? innerLength
    if let innerLength, let outerLength, innerLength != outerLength {
      notices.append(
        nested.notice(
          "original_max_position_embeddings",
          "is \(innerLength), and \(outerLength) beside it, which counts"))
    }
    scaling = try Self.scaling(
      nested, givenLength: givenLength, maxPositionEmbeddings: maxPositionEmbeddings)
    if let parameters, olderScaling?.isEmpty == false, !parameters.isEmpty {
      notices.append(
        fields.notice(
          "rope_scaling", "stands beside rope_parameters and counts, as in transformers"))
    }
    if let innerTheta, let outerTheta, innerTheta != outerTheta {
      notices.append(
        nested.notice("rope_theta", "is \(innerTheta) and counts, not \(outerTheta) beside it"))
    }
    if let innerPartial, let outerPartial, innerPartial != outerPartial {
      notices.append(
        nested.notice(
          "partial_rotary_factor", "is \(innerPartial) and counts, not \(outerPartial) beside it"))
    }
    notices += Self.noticesOfUnused(nested, scaling)
  }

  /// Names that the kind has no use for.
  private static func noticesOfUnused(_ fields: FieldReader, _ scaling: RopeScaling) -> [String] {
    var used = ["rope_type", "type", "rope_theta", "partial_rotary_factor"]
    switch scaling {
    case .none, .divisors: break
    case .linear, .dynamic: used += ["factor"]
    case .llama3:
      used += [
        "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings",
      ]
    case .yarn:
      used += [
        "factor", "original_max_position_embeddings", "beta_fast", "beta_slow", "mscale",
        "mscale_all_dim", "attention_factor", "truncate",
      ]
    case .longRope:
      used += [
        "factor", "original_max_position_embeddings", "short_factor", "long_factor",
        "attention_factor",
      ]
    }
    let known = Set(used.map(ByteString.init))
    return fields.names.filter { !known.contains(ByteString($0)) }.prefix(6).map {
      fields.notice($0, "is not used by this kind of scaling and left out of account")
    }
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
        fields, factor: factor, original: originalLength,
        maxPositionEmbeddings: maxPositionEmbeddings)
    case "yarn" where fields.value("long_factor") != nil:
      // What the first Phi-3 files call LongRoPE.
      return try longRope(
        fields, factor: factor, original: originalLength,
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
    _ fields: FieldReader, factor: Double?, original: Int, maxPositionEmbeddings: Int
  ) throws(CheckpointError) -> RopeScaling {
    let factors = 1e-6...1e9
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
