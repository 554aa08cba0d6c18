/// What the budgets of a selector mean where a prompt is read in chunks.
public enum ChunkBudgets: String, Sendable, Hashable, CaseIterable {
  /// Every chunk takes whole budgets, as if the prompt ended with it.
  case whole
  /// A chunk takes the share of the budgets that it sees of the prompt's keys. That is what its rows would
  /// use of the budgets of one chunk, where the chosen offsets and columns lie evenly: those beyond a row's own
  /// position do not exist for it.
  case proportional
}

/// A selector whose budgets count keys, offsets or blocks that are chosen among all keys of a prompt.
protocol CountingSelector: Selector {
  /// The same with budgets for a chunk that sees this share of the prompt's keys; what is computed whatever
  /// the prompt stays.
  func proportional(to share: Double) -> Self
}

/// `count` for this share of a prompt, rounded up; at least `least`, at most `count`.
private func proportional(_ count: Int, to share: Double, least: Int) -> Int {
  min(count, max(least, Int((Double(count) * share).rounded(.up))))
}

extension VerticalSlash: CountingSelector {
  func proportional(to share: Double) -> VerticalSlash {
    let rule = VerticalSlashRule.estimated
    return VerticalSlash(
      vertical: SparseAttention.proportional(vertical, to: share, least: rule.forcedColumns),
      slash: SparseAttention.proportional(slash, to: share, least: rule.forcedOffsets))
  }
}

extension BlockSparse: CountingSelector {
  func proportional(to share: Double) -> BlockSparse {
    BlockSparse(topK: SparseAttention.proportional(topK, to: share, least: 1))
  }
}

extension Antidiagonal: CountingSelector {
  func proportional(to share: Double) -> Antidiagonal {
    var selector = self
    selector.columns = SparseAttention.proportional(
      columns, to: share, least: VerticalSlashRule.estimated.forcedColumns)
    return selector
  }
}

extension PooledBlocks: CountingSelector {
  func proportional(to share: Double) -> PooledBlocks {
    var selector = self
    selector.columns = SparseAttention.proportional(
      columns, to: share, least: VerticalSlashRule.estimated.forcedColumns)
    return selector
  }
}

extension HeadPattern {
  /// The pattern for a chunk that sees this share of a prompt's keys. Patterns whose budgets say where keys
  /// lie, and those that keep their first choice, stay as they are.
  public func proportional(to share: Double) -> HeadPattern {
    guard share < 1, let selector = selector as? any CountingSelector else { return self }
    func pattern<One: CountingSelector>(_ selector: One) -> HeadPattern {
      HeadPattern(selector.proportional(to: share))
    }
    return pattern(selector)
  }
}

extension AttentionPlanner {
  /// The planner for a chunk of one layer that sees `keys` of the `tokens` of a prompt.
  package func proportional(layer: Int, keys: Int, of tokens: Int) -> AttentionPlanner {
    guard keys < tokens else { return self }
    let share = Double(keys) / Double(tokens)
    var configuration = configuration
    configuration.patterns[layer] = configuration.patterns[layer].map {
      $0.proportional(to: share)
    }
    var planner = AttentionPlanner(
      configuration: configuration, exact: exact, costModel: costModel)
    planner.freeBands = freeBands
    return planner
  }
}
