public import Compute

/// Blocks of 128 keys chosen for each block of 128 queries by the scores of antidiagonals, until a share
/// of the scored attention is held; with a floor under their number, single columns and dense last rows.
///
/// Scores and shares: ``Compute/EstimationOperations/blockShares(q:firstPosition:layer:shape:heads:stride:)``;
/// the choice: ``Compute/ShareRule``. Source: XAttention (arXiv 2503.16428), which is share 0.9, floor 0,
/// no columns and no dense rows.
///
/// The additions answer what that selection loses on real models. A share alone leaves rows with a few
/// strong blocks nearly nothing else: the floor, a part of each row's blocks whatever they score, halves
/// the divergence from dense attention at equal density. Needles score little in the mean of a block: the
/// columns with the most mass in the chunk's last rows, and every key for these rows themselves, keep
/// what a question asks for.
public struct Antidiagonal: Selector {
  public var rule: ShareRule
  /// Positions of a group: a pass of scores costs 1 / (2 stride) of dense attention.
  public var stride: Int
  /// Columns with the most mass in the chunk's last rows.
  public var columns: Int
  /// Last rows of the chunk that see every key, rounded out to a block.
  public var last: Int

  public init(rule: ShareRule, stride: Int = 16, columns: Int = 256, last: Int = 256) {
    self.rule = rule
    self.stride = stride
    self.columns = columns
    self.last = last
  }

  public static let name = "antidiagonal"
  public static let budgets = [
    SelectorBudget.share("share", standard: 0.8), .share("floor", standard: 0.1),
    .share("cap", standard: 1), .oneOf("stride", ShareRule.strides, standard: 16),
    .count("columns", least: 0, standard: 256, isRequired: false),
    .count("last", least: 0, standard: 256, isRequired: false),
  ]

  public init(values: [Double]) {
    self.init(
      rule: ShareRule(
        share: Float(values[0]), floor: Float(values[1]), cap: Float(values[2])),
      stride: Int(values[3]), columns: Int(values[4]), last: Int(values[5]))
  }

  public var values: [Double] {
    // Shares as they were written, not as the nearest float32 prints.
    func written(_ share: Float) -> Double { Double("\(share)") ?? Double(share) }
    return [
      written(rule.share), written(rule.floor), written(rule.cap), Double(stride),
      Double(columns), Double(last),
    ]
  }

  public var needs: SketchNeeds {
    SketchNeeds(lastRows: columns > 0, antidiagonalStride: stride)
  }

  public func needs(keys: Int, isKept: Bool) -> SketchNeeds {
    rule.share >= 1 && rule.cap >= 1 || columns >= keys || last >= keys ? .nothing : needs
  }

  public var alwaysComputed: Int { 2 * ShareRule.blockSize }

  public func select(_ sketch: HeadSketch) throws -> HeadSelection {
    let needs = needs(keys: sketch.keys, isKept: false)
    guard needs != .nothing else {
      return HeadSelection(.all, denseReason: .budgetTakesEverything)
    }
    let size = ShareRule.blockSize
    let first = sketch.firstPosition / size
    let blocks = (sketch.keys - 1) / size + 1 - first
    guard let shares = sketch.blockShares, shares.rows.count == blocks else {
      throw sketch.missing("the shares of \(blocks) query blocks")
    }
    var offsets: [Int32] = [0]
    var chosen: [Int32] = []
    for (block, row) in shares.rows.enumerated() {
      if (first + block) * size >= denseFrom(keys: sketch.keys) {
        chosen += 0...Int32(first + block)
      } else {
        chosen += rule.blocks(row[...])
      }
      offsets.append(Int32(chosen.count))
    }
    var columns: [Int32] = []
    if needs.lastRows {
      guard let sums = sketch.lastRowSums else { throw sketch.missing("the last rows' sums") }
      columns = LargestScores.indices(
        of: sums.vertical, count: min(self.columns, sketch.keys),
        forced: VerticalSlashRule.estimated.forcedColumns)
    }
    return HeadSelection(
      .blocks(
        BlockSelection(
          SelectedBlocks(blockSize: size, blockOffsets: offsets, keyBlocks: chosen),
          columns: columns)))
  }

  public func deviceRequest(keys: Int) -> DeviceRequest {
    needs(keys: keys, isKept: false) == .nothing
      ? .dense(.budgetTakesEverything)
      : .chosenBlocks(rule, stride: stride, columns: min(columns, keys), denseRows: last)
  }

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

  /// The first position of the dense last rows, at a block's beginning.
  private func denseFrom(keys: Int) -> Int {
    last == 0 ? .max : Self.denseFrom(keys: keys, rows: last)
  }

  /// The beginning of the block that holds the first of the last `rows` rows.
  static func denseFrom(keys: Int, rows: Int) -> Int {
    max(0, keys - rows) / ShareRule.blockSize * ShareRule.blockSize
  }
}
