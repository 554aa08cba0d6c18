public import SparseAttention
import Transformers

/// Which pairs of queries and keys a prefill computes.
public struct AttentionOptions: Sendable, Hashable {
  public var mode: AttentionMode
  /// Budgets of a mode that is one pattern for all heads; nil for the mode's own.
  public var budgets: AttentionBudgets
  /// The paper's selection to the letter: no crossover, no dense fallback.
  public var exact: Bool
  /// What static patterns compute; empty: what each prompt's first chunk asks for.
  public var calibratedSelections = SelectionMemory.Selections()

  public init(
    mode: AttentionMode = .minference, budgets: AttentionBudgets = AttentionBudgets(),
    exact: Bool = false
  ) {
    self.mode = mode
    self.budgets = budgets
    self.exact = exact
  }
}

extension LanguageModel {
  /// The planner of a prefill; nil for dense attention.
  ///
  /// - Throws: `PatternError` for budgets below 1.
  package func planner(for options: AttentionOptions) throws -> AttentionPlanner? {
    // Budgets are checked where they are not used, too.
    _ = try options.mode.pattern(options.budgets)
    if options.mode == .dense { return nil }
    let device = transformer.backend.name
    // What the search of a pattern file measured on this kind of device is planned with.
    var costModel =
      options.mode == .minference
      ? patterns?.costModel(onDevice: device) ?? .unsearched(onDevice: device)
      : SparseCostModel()
    if options.mode == .minference, case .configuration = patternSource,
      let dualChunk = transformer.configuration.dualChunkAttention
    {
      // What gives the budgets says from which length on they are worth it.
      costModel.denseBelow = max(
        costModel.denseBelow, dualChunk.sparseAttentionThreshold + 1)
    }
    return try options.mode.planner(
      layers: transformer.layerCount, heads: transformer.attentionShape(layer: 0).queryHeads,
      patterns: patterns, budgets: options.budgets, exact: options.exact, costModel: costModel)
  }

  /// What the user should know about these options with this model, one line each.
  public func notices(for options: AttentionOptions) -> [String] {
    var notices: [String] = []
    if options.mode == .minference, patterns == nil {
      notices.append(
        "\(directory): has no patterns.json, so every head gets the same adaptive selection; find "
          + "each head's own with minference search")
    }
    let unused = options.mode.unusedBudgets(options.budgets, hasPatternFile: patterns != nil)
    if !unused.isEmpty {
      notices.append(
        "\(unused.joined(separator: ", ")): not used by attention of the kind "
          + "\(options.mode.rawValue)" + (options.mode == .minference ? " with a pattern file" : "")
      )
    }
    return notices
  }
}
