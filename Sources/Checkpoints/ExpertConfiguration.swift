/// The fields of `config.json` that describe a mixture of experts, as they are given; the model type
/// decides what an absent one means.
///
/// Source: transformers, `models/qwen3_moe`, `models/glm4_moe` and `models/gpt_oss`.
public struct ExpertConfiguration: Equatable, Sendable {
  /// Experts of a layer.
  public var count: Int
  /// Experts that a row goes to.
  public var perToken: Int
  /// Of one expert.
  public var intermediateSize: Int
  /// Whether the weights of a row's experts are divided by their sum.
  public var normalizesWeights: Bool?
  /// What weights are multiplied with.
  public var scaling: Double?
  /// Groups of experts, and how many of them a row may choose from.
  public var groups: Int?
  public var chosenGroups: Int?
  /// Experts that every row goes to.
  public var sharedCount: Int?
  /// The first layers, which have an ordinary MLP.
  public var leadingDenseLayers: Int?
  /// Further layers with an ordinary MLP.
  public var denseLayers: [Int]
  /// Layers n with (n + 1) divisible by this have experts.
  public var layerStep: Int?
  /// Whether queries and keys are normalised, where the model type leaves it open.
  public var normalizesHeads: Bool?
  /// Of clamped SwiGLU: the factor within the sigmoid, and the bound of gate and up.
  public var activationAlpha: Double?
  public var activationLimit: Double?

  public init(
    count: Int, perToken: Int, intermediateSize: Int, normalizesWeights: Bool? = nil,
    scaling: Double? = nil, groups: Int? = nil, chosenGroups: Int? = nil, sharedCount: Int? = nil,
    leadingDenseLayers: Int? = nil, denseLayers: [Int] = [], layerStep: Int? = nil,
    normalizesHeads: Bool? = nil
  ) {
    self.count = count
    self.perToken = perToken
    self.intermediateSize = intermediateSize
    self.normalizesWeights = normalizesWeights
    self.scaling = scaling
    self.groups = groups
    self.chosenGroups = chosenGroups
    self.sharedCount = sharedCount
    self.leadingDenseLayers = leadingDenseLayers
    self.denseLayers = denseLayers
    self.layerStep = layerStep
    self.normalizesHeads = normalizesHeads
  }

  /// The most experts of a layer, and the most that a row goes to.
  static let most = 512
  static let mostPerToken = 32
}

extension ExpertConfiguration {
  /// Nil where the file describes no experts, or not in these fields.
  ///
  /// - Parameter intermediateSize: Of one expert where no field of its own says so; nil: such a file has none.
  init?(
    _ fields: FieldReader, layers: Int, intermediateSize absentSize: Int? = nil
  ) throws(CheckpointError) {
    var count: (field: String, value: Int)?
    for field in ["num_experts", "n_routed_experts", "num_local_experts"] {
      guard let value = try fields.integer(field, in: 0...Self.most), value > 0 else { continue }
      count = (field, value)
      break
    }
    let ownSize = try fields.integer("moe_intermediate_size", in: 1...1 << 20)
    guard let count,
      let perToken = try fields.integer(
        "num_experts_per_tok", in: 1...min(count.value, Self.mostPerToken)),
      let intermediateSize = absentSize ?? ownSize
    else { return nil }
    self.init(count: count.value, perToken: perToken, intermediateSize: intermediateSize)
    normalizesWeights = try fields.boolean("norm_topk_prob")
    scaling = try fields.number("routed_scaling_factor", in: 1e-6...1e6)
    groups = try fields.integer("n_group", in: 1...count.value)
    chosenGroups = try fields.integer("topk_group", in: 1...(groups ?? 1))
    sharedCount = try fields.integer("n_shared_experts", in: 0...Self.most)
    leadingDenseLayers = try fields.integer("first_k_dense_replace", in: 0...layers)
    layerStep = try fields.integer("decoder_sparse_step", in: 1...1 << 12)
    normalizesHeads = try fields.boolean("use_qk_norm")
    activationAlpha = try fields.number("swiglu_alpha", in: 1e-3...1e3)
    activationLimit = try fields.number("swiglu_limit", in: 1e-3...1e6)
    for layer in try fields.numbers("mlp_only_layers", in: 0...Double(1 << 12)) ?? [] {
      denseLayers.append(Int(layer))
    }
    let groupSize = count.value / (groups ?? 1)
    guard count.value % (groups ?? 1) == 0,
      groups ?? 1 == 1 || groupSize >= 2 && perToken <= groupSize * (chosenGroups ?? 1)
    else {
      throw fields.failure(
        "n_group",
        "is \(groups ?? 1): it should divide \(count.field), \(count.value), and leave "
          + "\(perToken) experts to choose in topk_group groups, \(chosenGroups ?? 1)")
    }
  }
}
