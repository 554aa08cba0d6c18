import Compute

/// What selectors of key blocks by their shares do after they have scored: the rule, single columns, dense last
/// rows.
///
/// A share alone leaves rows with a few strong blocks nearly nothing else: the rule's floor, a part of each
/// row's blocks whatever they score, halves the divergence from dense attention at equal density on real
/// models. Needles score little in the mean of a block: the columns with the most mass in the chunk's last rows,
/// and every key for these rows themselves, keep what a question asks for.
struct ChosenBlocks: Sendable, Hashable {
  var rule: ShareRule
  var source: ShareSource
  /// Columns with the most mass in the chunk's last rows.
  var columns: Int
  /// Last rows of the chunk that see every key, rounded out to a block.
  var last: Int

  /// The budgets of the rule: share, floor and cap.
  static func ruleBudgets(share: Double, floor: Double) -> [SelectorBudget] {
    [
      .share("share", standard: share), .share("floor", standard: floor),
      .share("cap", standard: 1),
    ]
  }

  /// The budgets of what is computed beside blocks: columns and last rows.
  static func besides(columns: Int) -> [SelectorBudget] {
    [
      .count("columns", least: 0, standard: columns, isRequired: false),
      .count("last", least: 0, standard: 256, isRequired: false),
    ]
  }

  static func rule(_ values: ArraySlice<Double>) -> ShareRule {
    let values = values.map(Float.init)
    return ShareRule(share: values[0], floor: values[1], cap: values[2])
  }

  /// Values of ``ruleBudgets(share:floor:)``, as they were written and not as the nearest float32 prints.
  var ruleValues: [Double] {
    [rule.share, rule.floor, rule.cap].map { Double("\($0)") ?? Double($0) }
  }

  var needs: SketchNeeds { SketchNeeds(lastRows: columns > 0, blockShares: source) }

  func needs(keys: Int) -> SketchNeeds {
    rule.share >= 1 && rule.cap >= 1 || columns >= keys || last >= keys ? .nothing : needs
  }

  func select(_ sketch: HeadSketch) throws -> HeadSelection {
    guard needs(keys: sketch.keys) != .nothing else {
      return HeadSelection(.all, denseReason: .budgetTakesEverything)
    }
    let size = ShareRule.blockSize
    let first = sketch.firstPosition / size
    let blocks = (sketch.keys - 1) / size + 1 - first
    guard let shares = sketch.blockShares, shares.rows.count == blocks else {
      throw sketch.missing("the shares of \(blocks) query blocks")
    }
    let denseFrom = denseFrom(keys: sketch.keys) ?? .max
    var offsets: [Int32] = [0]
    var chosen: [Int32] = []
    for (block, row) in shares.rows.enumerated() {
      if (first + block) * size >= denseFrom {
        chosen += 0...Int32(first + block)
      } else {
        chosen += rule.blocks(row[...], hasSink: sketch.hasSink)
      }
      offsets.append(Int32(chosen.count))
    }
    var columns: [Int32] = []
    if self.columns > 0 {
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

  func deviceRequest(keys: Int) -> DeviceRequest {
    needs(keys: keys) == .nothing
      ? .dense(.budgetTakesEverything)
      : .chosenBlocks(
        source, rule, columns: min(columns, keys), denseFrom: denseFrom(keys: keys))
  }

  /// The beginning of the block that holds the first of the dense last rows; nil: there are none.
  private func denseFrom(keys: Int) -> Int? {
    last == 0 ? nil : max(0, keys - last) / ShareRule.blockSize * ShareRule.blockSize
  }
}
