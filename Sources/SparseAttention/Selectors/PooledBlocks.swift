public import Compute

/// Blocks of 128 keys chosen for each block of 128 queries by the products of their means, until a share of the
/// softmax of these is held; with a floor under their number, single columns and dense last rows.
///
/// Scoring costs next to nothing: one product for a pair of blocks. Means see less than antidiagonals do, since
/// a few strong pairs of a block vanish in them. Scores and shares:
/// ``Compute/EstimationOperations/blockShares(q:firstPosition:layer:shape:heads:source:)``; the choice:
/// ``Compute/ShareRule``. Source: the query-aware pattern of FlexPrefill (arXiv 2502.20766), section 3.2, with a
/// share for each block of queries in place of one for the whole head.
public struct PooledBlocks: Selector {
  public var rule: ShareRule
  /// Columns with the most mass in the chunk's last rows.
  public var columns: Int
  /// Last rows of the chunk that see every key, rounded out to a block.
  public var last: Int

  public init(rule: ShareRule, columns: Int = 256, last: Int = 256) {
    self.rule = rule
    self.columns = columns
    self.last = last
  }

  public static let name = "pooled-blocks"
  public static let budgets =
    ChosenBlocks.ruleBudgets(share: 0.7, floor: 0.05) + ChosenBlocks.besides

  public init(values: [Double]) {
    self.init(
      rule: ChosenBlocks.rule(values[..<3]), columns: Int(values[3]), last: Int(values[4]))
  }

  public var values: [Double] { chosen.ruleValues + [Double(columns), Double(last)] }

  public var needs: SketchNeeds { chosen.needs }
  public func needs(keys: Int, isKept: Bool) -> SketchNeeds { chosen.needs(keys: keys) }
  public var alwaysComputed: Int { 2 * ShareRule.blockSize }

  public func select(_ sketch: HeadSketch) throws -> HeadSelection { try chosen.select(sketch) }
  public func deviceRequest(keys: Int) -> DeviceRequest { chosen.deviceRequest(keys: keys) }

  private var chosen: ChosenBlocks {
    ChosenBlocks(rule: rule, source: .pooledMeans, columns: columns, last: last)
  }
}
