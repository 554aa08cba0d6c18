public import Compute

/// Blocks of 128 keys chosen for each block of 128 queries by the products of means of groups, until a share of
/// the softmax of these is held; with a floor under their number, single columns and dense last rows.
///
/// Scoring is cheap: with groups of n positions a pass costs 1 / (2 n^2) of dense attention. Means see less than
/// antidiagonals do where a few strong pairs of a group vanish in them. Scores and shares:
/// ``Compute/EstimationOperations/blockShares(q:firstPosition:layer:shape:heads:source:)``; the choice:
/// ``Compute/ShareRule``. Source: the query-aware pattern of FlexPrefill (arXiv 2502.20766), section 3.2, which has
/// groups of a block, and one share for the whole head in place of one for each block of queries.
public struct PooledBlocks: Selector {
  public var rule: ShareRule
  /// Positions of a group whose mean is scored.
  public var poolSize: Int
  /// Columns with the most mass in the chunk's last rows.
  public var columns: Int
  /// Last rows of the chunk that see every key, rounded out to a block.
  public var last: Int

  public init(rule: ShareRule, poolSize: Int = 128, columns: Int = 256, last: Int = 256) {
    self.rule = rule
    self.poolSize = poolSize
    self.columns = columns
    self.last = last
  }

  public static let name = "pooled-blocks"
  public static let budgets =
    ChosenBlocks.ruleBudgets(share: 0.7, floor: 0.05)
    + [.oneOf("pool_size", ShareSource.meanSizes, standard: 128)] + ChosenBlocks.besides

  public init(values: [Double]) {
    self.init(
      rule: ChosenBlocks.rule(values[..<3]), poolSize: Int(values[3]), columns: Int(values[4]),
      last: Int(values[5]))
  }

  public var values: [Double] { chosen.ruleValues + [poolSize, columns, last].map(Double.init) }

  public var needs: SketchNeeds { chosen.needs }
  public func needs(keys: Int, isKept: Bool) -> SketchNeeds { chosen.needs(keys: keys) }
  public var alwaysComputed: Int { 2 * ShareRule.blockSize }

  public func select(_ sketch: HeadSketch) throws -> HeadSelection { try chosen.select(sketch) }
  public func deviceRequest(keys: Int) -> DeviceRequest { chosen.deviceRequest(keys: keys) }

  private var chosen: ChosenBlocks {
    ChosenBlocks(rule: rule, source: .means(size: poolSize), columns: columns, last: last)
  }
}
