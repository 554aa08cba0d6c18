import Compute

/// FlexPrefill: each prompt decides for each head whether its blocks are found by means or by the last rows.
///
/// The distribution of the last rows' attention over blocks of 128 keys is compared with its estimate from the
/// mean of the last block of queries and the means of key blocks. Where the square root of their
/// Jensen-Shannon divergence is below `tau`, the estimate can be trusted: every block of queries takes the key
/// blocks with the largest products of means, until they hold `share` of its softmax. Elsewhere columns and
/// offsets are taken as ``VerticalSlashShare`` does. Source: FlexPrefill (arXiv 2502.20766), section 3,
/// algorithms 1 to 4; its share is 0.9 or 0.95 and its tau 0.1.
///
/// Different from the published code, on purpose:
/// - Algorithm 4 flattens the softmax of all query blocks into one map and takes the largest of it until `share` of the
///   whole is held. Here every block of queries holds `share` of its own, so that its key blocks can be chosen as soon
///   as its queries are there: on a device these come in parts, and nothing waits for the last of them.
/// - The last rows are 64 where the paper's are a block of 128.
/// - Columns and offsets are single ones and not blocks of them.
/// - The first block and the query's own are always taken.
public struct FlexPrefill: Selector {
  /// Of the attention that is estimated.
  public var share: Float
  /// The least distance at which the means are not trusted.
  public var tau: Float
  /// Keys that every row computes at least: columns and offsets, or blocks of 128.
  public var leastKeys: Int

  public init(share: Float = 0.9, tau: Float = 0.1, leastKeys: Int = 1024) {
    self.share = share
    self.tau = tau
    self.leastKeys = leastKeys
  }

  public static let name = "flexprefill"
  public static let budgets: [SelectorBudget] = [
    .share("share", standard: 0.9), .share("tau", standard: 0.1),
    .count("least_keys", standard: 1024, isRequired: false),
  ]

  public init(values: [Double]) {
    self.init(share: Float(values[0]), tau: Float(values[1]), leastKeys: Int(values[2]))
  }

  public var values: [Double] {
    [share, tau].map { Double("\($0)") ?? Double($0) } + [Double(leastKeys)]
  }

  public var needs: SketchNeeds { SketchNeeds(lastRows: true, blockShares: Self.source) }

  public func needs(keys: Int, isKept: Bool) -> SketchNeeds {
    share >= 1 || leastKeys >= keys ? .nothing : needs
  }

  public var alwaysComputed: Int { 2 * ShareRule.blockSize }

  public func deviceRequest(keys: Int) -> DeviceRequest {
    needs(keys: keys, isKept: false) == .nothing
      ? .dense(.budgetTakesEverything)
      : .chosenBlocks(Self.source, rule, alternative: alternative(keys: keys))
  }

  public func select(_ sketch: HeadSketch) throws -> HeadSelection {
    guard needs(keys: sketch.keys, isKept: false) != .nothing else {
      return HeadSelection(.all, denseReason: .budgetTakesEverything)
    }
    guard let sums = sketch.lastRowSums, let shares = sketch.blockShares,
      let last = shares.rows.last
    else { throw sketch.missing("the last rows' sums and the shares of its query blocks") }
    if alternative(keys: sketch.keys).isTaken(columnSums: sums.vertical, shares: last) {
      return HeadSelection(.bands(bands.selection(sums, rows: sketch.lastRows)))
    }
    var offsets: [Int32] = [0]
    var chosen: [Int32] = []
    for row in shares.rows {
      chosen += rule.blocks(row[...])
      offsets.append(Int32(chosen.count))
    }
    return HeadSelection(
      .blocks(
        BlockSelection(
          SelectedBlocks(
            blockSize: ShareRule.blockSize, blockOffsets: offsets, keyBlocks: chosen))))
  }

  private static let source = ShareSource.means(size: ShareRule.blockSize)

  /// Where the means are trusted.
  private var rule: ShareRule {
    ShareRule(share: share, least: (leastKeys - 1) / ShareRule.blockSize + 1)
  }

  /// Where they are not.
  private var bands: VerticalSlashShare {
    VerticalSlashShare(share: share, vertical: leastKeys, slash: leastKeys)
  }

  private func alternative(keys: Int) -> BandAlternative {
    let rules = bands.rules(keys: keys)
    return BandAlternative(distance: tau, columns: rules.columns, offsets: rules.offsets)
  }
}
