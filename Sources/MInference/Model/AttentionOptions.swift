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
    if options.mode == .dense || isDenseForWantOfPatterns(options) { return nil }
    return try options.mode.planner(
      layers: transformer.layerCount, heads: transformer.attentionShape(layer: 0).queryHeads,
      patterns: patterns, budgets: options.budgets, exact: options.exact,
      costModel: patterns?.costModel(onDevice: transformer.backend.name) ?? SparseCostModel())
  }

  /// A model without a pattern file is read densely: which heads can do without what is not known.
  private func isDenseForWantOfPatterns(_ options: AttentionOptions) -> Bool {
    options.mode == .minference && patterns == nil && options.budgets.vertical == nil
      && options.budgets.slash == nil
  }

  /// What the user should know about these options with this model, one line each.
  public func notices(for options: AttentionOptions) -> [String] {
    var notices: [String] = []
    if isDenseForWantOfPatterns(options) {
      notices.append(
        "\(directory): has no patterns.json, so attention is dense; find the patterns with "
          + "minference search, or give --patterns FILE or --attention vertical-slash")
    }
    let unused = options.mode.unusedBudgets(options.budgets, hasPatternFile: patterns != nil)
    if !unused.isEmpty {
      notices.append(
        "\(unused.map { "--" + $0 }.joined(separator: ", ")): not used by --attention "
          + "\(options.mode.rawValue)" + (options.mode == .minference ? " with a pattern file" : "")
      )
    }
    return notices
  }
}
