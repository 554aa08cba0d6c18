public import Compute

/// How many columns and offsets are taken, and which are taken whatever their mass.
///
/// Source: MInference, algorithm 2, and upstream's constants.
public struct VerticalSlashRule: Sendable, Hashable {
  /// Columns 0 ..< forcedColumns come before all others.
  public let forcedColumns: Int
  /// Offsets 0 ..< forcedOffsets come before all others.
  public let forcedOffsets: Int
  /// The smallest budgets, whatever the pattern says; they too end at the number of keys.
  public let leastColumns: Int
  public let leastOffsets: Int

  /// The rule of every estimated head.
  public static let estimated = VerticalSlashRule(
    forcedColumns: 30, forcedOffsets: 100, leastColumns: 30, leastOffsets: 50)
  /// The rule of heads that keep their first estimate; upstream forces 30 offsets there.
  public static let kept = VerticalSlashRule(
    forcedColumns: 30, forcedOffsets: 30, leastColumns: 30, leastOffsets: 50)

  /// Rows that the estimate is made from: a chunk's last ones.
  public static let lastRows = DeviceCapabilities.standardEstimationRows

  /// The budgets for a prompt of `keys` keys: at least the rule's, at most all.
  public func counts(vertical: Int, slash: Int, keys: Int) -> (columns: Int, offsets: Int) {
    (min(keys, max(vertical, leastColumns)), min(keys, max(slash, leastOffsets)))
  }

  /// First columns and nearest offsets that are computed whatever the estimate says.
  func alwaysComputed(vertical: Int, slash: Int) -> Int {
    let counts = counts(vertical: vertical, slash: slash, keys: .max)
    return min(forcedColumns, counts.columns) + min(forcedOffsets, counts.offsets)
  }
}

/// Vertical-slash: the columns and the offsets that hold most of the last rows' attention.
///
/// With P the softmax of the chunk's last min(64, rows) rows, column j scores the sum of P[i, j] and
/// offset o the sum of P[i, i - o] (which, as upstream, has fewer terms where o reaches before the
/// first key). The budgets' largest of each are taken after the forced ones; the forced ones count,
/// so a slash budget of 50 takes the offsets 0 ..< 50. Ties: ``LargestScores``.
///
/// Different from upstream, on purpose: one row is an ordinary case (upstream's top-k fails on it),
/// batches are not mixed (upstream reads the first sequence's sums for all), and verticals beyond
/// the last slash are never lost.
public struct VerticalSlash: Selector {
  public var vertical: Int
  public var slash: Int

  public init(vertical: Int, slash: Int) {
    self.vertical = vertical
    self.slash = slash
  }

  public static let name = "vertical-slash"
  public static let budgets = [
    SelectorBudget.count("vertical", standard: 1000), .count("slash", standard: 6096),
  ]

  public init(values: [Double]) { self.init(vertical: Int(values[0]), slash: Int(values[1])) }

  public var values: [Double] { [Double(vertical), Double(slash)] }
  public var needs: SketchNeeds { SketchNeeds(lastRows: true) }

  public func needs(keys: Int, isKept: Bool) -> SketchNeeds {
    Self.takesEverything(vertical: vertical, slash: slash, keys: keys) ? .nothing : needs
  }

  public var alwaysComputed: Int {
    VerticalSlashRule.estimated.alwaysComputed(vertical: vertical, slash: slash)
  }

  public func select(_ sketch: HeadSketch) throws -> HeadSelection {
    guard needs(keys: sketch.keys, isKept: false).lastRows else {
      return HeadSelection(.all, denseReason: .budgetTakesEverything)
    }
    guard let sums = sketch.lastRowSums else { throw sketch.missing("the last rows' sums") }
    return HeadSelection(.bands(Self.selection(sums, vertical: vertical, slash: slash)))
  }

  public func deviceRequest(keys: Int) -> DeviceRequest {
    guard needs(keys: keys, isKept: false).lastRows else { return .dense(.budgetTakesEverything) }
    let counts = VerticalSlashRule.estimated.counts(vertical: vertical, slash: slash, keys: keys)
    return .estimated(
      .scored(
        .lastRows,
        .bandsAndColumns(offsets: .count(counts.offsets), columns: .count(counts.columns))))
  }

  /// The budgets that most heads of the published files have, and small ones for heads of few columns.
  public static var searchCandidates: [VerticalSlash] {
    [VerticalSlash(vertical: 256, slash: 1024), VerticalSlash(vertical: 1000, slash: 6096)]
  }

  public static func selection(
    _ sums: LastRowSums, vertical: Int, slash: Int, rule: VerticalSlashRule = .estimated
  ) -> BandSelection {
    let counts = rule.counts(vertical: vertical, slash: slash, keys: sums.vertical.count)
    return BandSelection(
      slashOffsets: LargestScores.indices(
        of: sums.slash, count: counts.offsets, forced: rule.forcedOffsets),
      columns: LargestScores.indices(
        of: sums.vertical, count: counts.columns, forced: rule.forcedColumns))
  }

  /// Whether the budgets take every column or every offset, so that no estimate is needed.
  public static func takesEverything(
    vertical: Int, slash: Int, keys: Int, rule: VerticalSlashRule = .estimated
  ) -> Bool {
    let counts = rule.counts(vertical: vertical, slash: slash, keys: keys)
    return counts.columns == keys || counts.offsets == keys
  }
}
