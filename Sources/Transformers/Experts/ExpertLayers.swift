import Checkpoints
import Compute

/// Which layers of a decoder have experts, and how these are chosen.
struct ExpertLayers: Sendable, Equatable {
  let rule: RoutingRule
  /// Intermediate size of one expert.
  let width: Int
  /// Intermediate size of the shared expert; 0: there is none.
  let sharedWidth: Int
  let activation: GatedActivation
  /// Whether experts have biases.
  let isBiased: Bool
  /// Of each layer of the model whether it has experts.
  let hasExperts: [Bool]

  /// - Parameters:
  ///   - score: The family's.
  ///   - normalizes: What an absent `norm_topk_prob` means.
  ///   - sharesByDefault: Shared experts where `n_shared_experts` is absent.
  ///   - denseByDefault: First layers without experts where `first_k_dense_replace` is absent.
  /// - Throws: ``TransformerError/unsupported(directory:field:problem:)``.
  init(
    _ checkpoint: any WeightSource, score: RoutingRule.Score, normalizes: Bool,
    sharesByDefault: Int = 0, denseByDefault: Int = 0, activation: GatedActivation = .silu,
    isBiased: Bool = false
  ) throws {
    let configuration = checkpoint.configuration
    guard let experts = configuration.experts else {
      throw TransformerError.unsupported(
        directory: checkpoint.path, field: "num_experts",
        problem: "is missing, or num_experts_per_tok or moe_intermediate_size beside it: "
          + "\(configuration.modelType) has experts: download the file again")
    }
    let groups = score == .sigmoid ? experts.groups ?? 1 : 1
    rule = RoutingRule(
      experts: experts.count, perRow: experts.perToken, score: score, groups: groups,
      chosenGroups: groups == 1 ? 1 : experts.chosenGroups ?? 1,
      normalizes: experts.normalizesWeights ?? normalizes,
      scaling: Float(score == .sigmoid ? experts.scaling ?? 1 : 1))
    guard rule.isValid else {
      throw TransformerError.unsupported(
        directory: checkpoint.path, field: "num_experts",
        problem:
          "is \(experts.count), \(experts.perToken) of them for a token in \(groups) groups: "
          + "at most \(RoutingRule.mostPerRow) of \(RoutingRule.mostExperts) are known")
    }
    self.activation = activation
    self.isBiased = isBiased
    width = experts.intermediateSize
    sharedWidth = (experts.sharedCount ?? sharesByDefault) * experts.intermediateSize
    let leading = experts.leadingDenseLayers ?? denseByDefault
    hasExperts = (0..<configuration.numHiddenLayers).map { layer in
      layer >= leading && !experts.denseLayers.contains(layer)
        && (layer + 1) % (experts.layerStep ?? 1) == 0
    }
  }

  /// The widest gated MLP that a layer has beside experts: its own, or the shared expert. 0: there is
  /// none.
  func denseWidth(intermediateSize: Int) -> Int {
    max(hasExperts.contains(false) ? intermediateSize : 0, sharedWidth)
  }

  /// Intermediate size of everything that one row passes in a layer with experts.
  var activeWidth: Int { rule.perRow * width + sharedWidth }
}
