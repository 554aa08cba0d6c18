public import SparseAttention
package import Transformers

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
    var costModel = SparseCostModel()
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

  /// What watches a prefill: what was asked for, and for a model without patterns a monitor that
  /// computes weak heads densely.
  ///
  /// Which heads can do without what is not known then. Every head is vertical-slash with the
  /// budgets that upstream gives heads it does not list, and those that lose too much of what they
  /// attend to are found while the prompt is read.
  package func monitor(
    for options: AttentionOptions, given: RecallMonitor?
  ) -> RecallMonitor? {
    if let given { return given }
    return adaptsForWantOfPatterns(options) ? RecallMonitor(computesWeakHeadsDensely: true) : nil
  }

  private func adaptsForWantOfPatterns(_ options: AttentionOptions) -> Bool {
    options.mode == .minference && patterns == nil && !options.exact
      && options.budgets.vertical == nil && options.budgets.slash == nil
  }

  /// What the user should know about these options with this model, one line each.
  public func notices(for options: AttentionOptions) -> [String] {
    var notices: [String] = []
    if adaptsForWantOfPatterns(options) {
      notices.append(
        "\(directory): has no patterns.json, so every head gets the same pattern, and those that "
          + "lose too much are computed densely; find the patterns with minference search")
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
