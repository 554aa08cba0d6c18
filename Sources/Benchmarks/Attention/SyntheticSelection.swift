package import MInference

/// What vertical-slash selects where attention goes as ``SyntheticAttention`` says: the selection of
/// budgets without an estimate, for kernels to be measured by themselves.
package enum SyntheticSelection {
  /// Columns and offsets of one head.
  package struct Budget: Sendable, Hashable {
    package var columns: Int
    package var offsets: Int

    package init(columns: Int, offsets: Int) {
      self.columns = columns
      self.offsets = offsets
    }
  }

  /// - Parameters:
  ///   - keys: Tokens of the prompt.
  ///   - seed: Of the key-value head whose selection it is.
  package static func bands(
    _ setting: SyntheticAttention.Setting, keys: Int, budget: Budget, seed: UInt64
  ) -> BandSelection {
    let attention = SyntheticAttention(
      setting, keys: keys, offsets: budget.offsets, columns: budget.columns, seed: seed)
    return VerticalSlash.selection(
      LastRowSums(vertical: attention.columnScores, slash: attention.offsetScores),
      vertical: budget.columns, slash: budget.offsets)
  }
}
