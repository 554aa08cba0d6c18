public import Compute

/// Vertical-slash whose columns and offsets are as many as hold a share of the last rows' attention.
///
/// With the sums of ``VerticalSlash``: the fewest columns, the largest first, whose sums add up to `share` of all
/// columns' sums, and likewise offsets. The first columns and the nearest offsets that vertical-slash forces
/// come before all others and count; there are at least `vertical` columns and `slash` offsets. Source:
/// FlexPrefill (arXiv 2502.20766), algorithm 3, which has a least budget likewise and no forced ones.
public struct VerticalSlashShare: Selector {
  /// Of the mass of columns, and of that of offsets.
  public var share: Float
  /// The fewest columns and offsets.
  public var vertical: Int
  public var slash: Int

  public init(share: Float, vertical: Int = 30, slash: Int = 100) {
    self.share = share
    self.vertical = vertical
    self.slash = slash
  }

  public static let name = "vertical-slash-share"
  public static let budgets: [SelectorBudget] = [
    .share("share", standard: 0.95), .count("vertical", standard: 30, isRequired: false),
    .count("slash", standard: 100, isRequired: false),
  ]

  public init(values: [Double]) {
    self.init(share: Float(values[0]), vertical: Int(values[1]), slash: Int(values[2]))
  }

  public var values: [Double] {
    [Double("\(share)") ?? Double(share), Double(vertical), Double(slash)]
  }

  public var needs: SketchNeeds { SketchNeeds(lastRows: true) }

  public func needs(keys: Int, isKept: Bool) -> SketchNeeds {
    share >= 1 || VerticalSlash.takesEverything(vertical: vertical, slash: slash, keys: keys)
      ? .nothing : needs
  }

  public var alwaysComputed: Int {
    VerticalSlashRule.estimated.alwaysComputed(vertical: vertical, slash: slash)
  }

  public func select(_ sketch: HeadSketch) throws -> HeadSelection {
    guard needs(keys: sketch.keys, isKept: false).lastRows else {
      return HeadSelection(.all, denseReason: .budgetTakesEverything)
    }
    guard let sums = sketch.lastRowSums else { throw sketch.missing("the last rows' sums") }
    return HeadSelection(.bands(selection(sums, rows: sketch.lastRows)))
  }

  /// - Parameter rows: The rows that were summed.
  func selection(_ sums: LastRowSums, rows: Int) -> BandSelection {
    let rules = rules(keys: sums.vertical.count)
    let forced = VerticalSlashRule.estimated
    return BandSelection(
      slashOffsets: rules.offsets.indices(
        of: sums.slash, rows: rows, forced: forced.forcedOffsets),
      columns: rules.columns.indices(
        of: sums.vertical, rows: rows, forced: forced.forcedColumns))
  }

  public func deviceRequest(keys: Int) -> DeviceRequest {
    guard needs(keys: keys, isKept: false).lastRows else { return .dense(.budgetTakesEverything) }
    let rules = rules(keys: keys)
    return .estimated(
      .scored(.lastRows, .bandsAndColumns(offsets: rules.offsets, columns: rules.columns)))
  }

  func rules(keys: Int) -> (columns: IndexRequest.Rule, offsets: IndexRequest.Rule) {
    let least = VerticalSlashRule.estimated.counts(vertical: vertical, slash: slash, keys: keys)
    return (.share(share, least: least.columns), .share(share, least: least.offsets))
  }
}

extension IndexRequest.Rule {
  /// What the rule takes of the sums of so many last rows, ascending.
  public func indices(of sums: [Float], rows: Int, forced: Int) -> [Int32] {
    let count =
      switch self {
      case .count(let count): count
      case .share(let share, let least):
        max(
          least, LargestScores.count(of: sums, holding: share, of: Float(rows), forced: forced))
      }
    return LargestScores.indices(of: sums, count: count, forced: forced)
  }
}
