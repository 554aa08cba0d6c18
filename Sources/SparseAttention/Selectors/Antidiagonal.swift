public import Compute

/// Blocks of 128 keys chosen for each block of 128 queries by the scores of antidiagonals, until a share
/// of the scored attention is held; with a floor under their number, single columns and dense last rows.
///
/// Scores and shares: ``Compute/EstimationOperations/blockShares(q:firstPosition:layer:shape:heads:source:)``;
/// the choice: ``Compute/ShareRule``. Source: XAttention (arXiv 2503.16428), which is share 0.9, floor 0,
/// query stride 1, no columns and no dense rows.
public struct Antidiagonal: Selector {
  public var rule: ShareRule
  /// Positions of a group: a pass of scores costs 1 / (2 stride queryStride) of dense attention.
  public var stride: Int
  /// Of so many groups of queries one is scored.
  public var queryStride: Int
  /// Columns with the most mass in the chunk's last rows.
  public var columns: Int
  /// Last rows of the chunk that see every key, rounded out to a block.
  public var last: Int

  public init(
    rule: ShareRule, stride: Int = 16, queryStride: Int = 1, columns: Int = 256, last: Int = 256
  ) {
    self.rule = rule
    self.stride = stride
    self.queryStride = queryStride
    self.columns = columns
    self.last = last
  }

  public static let name = "antidiagonal"
  public static let budgets =
    ChosenBlocks.ruleBudgets(share: 0.8, floor: 0.1)
    + [.oneOf("stride", ShareSource.strides, standard: 16)] + ChosenBlocks.besides
    + [.oneOf("query_stride", ShareSource.queryStrides, standard: 1)]

  public init(values: [Double]) {
    self.init(
      rule: ChosenBlocks.rule(values[..<3]), stride: Int(values[3]), queryStride: Int(values[6]),
      columns: Int(values[4]), last: Int(values[5]))
  }

  public var values: [Double] {
    chosen.ruleValues + [stride, columns, last, queryStride].map(Double.init)
  }

  public var needs: SketchNeeds { chosen.needs }
  public func needs(keys: Int, isKept: Bool) -> SketchNeeds { chosen.needs(keys: keys) }
  public var alwaysComputed: Int { 2 * ShareRule.blockSize }

  public func select(_ sketch: HeadSketch) throws -> HeadSelection { try chosen.select(sketch) }
  public func deviceRequest(keys: Int) -> DeviceRequest { chosen.deviceRequest(keys: keys) }

  /// Shares from half to nine tenths with the floors that measurements on a model of 1.5 billion
  /// parameters left on the frontier of divergence and density; columns for what questions ask.
  public static var searchCandidates: [Antidiagonal] {
    let rules: [(share: Float, floor: Float)] = [
      (0.5, 0.02), (0.5, 0.05), (0.6, 0.05), (0.7, 0.05), (0.8, 0.1), (0.9, 0.1),
    ]
    return rules.map {
      Antidiagonal(rule: ShareRule(share: $0.share, floor: $0.floor), stride: 16, columns: 512)
    }
  }

  private var chosen: ChosenBlocks {
    ChosenBlocks(
      rule: rule, source: .antidiagonals(stride: stride, queryStride: queryStride),
      columns: columns, last: last)
  }
}
