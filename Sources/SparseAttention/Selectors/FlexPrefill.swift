import Compute

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// FlexPrefill: each prompt decides for each head whether its blocks are found by means or by the last rows.
///
/// The distribution of the last rows' attention over blocks of 128 keys is compared with its estimate from the
/// mean of the last block of queries and the means of key blocks. Where the square root of their
/// Jensen-Shannon divergence is below `tau`, the estimate can be trusted: the blocks with the largest products
/// of means are taken over the whole chunk, until they hold `share` of the softmax of all its query blocks.
/// Elsewhere columns and offsets are taken as ``VerticalSlashShare`` does. Source: FlexPrefill (arXiv
/// 2502.20766), section 3, algorithms 1 to 4; its share is 0.9 or 0.95 and its tau 0.1.
///
/// Different from the published code, on purpose: the last rows are 64 where the paper's are a block of 128;
/// columns and offsets are single ones and not blocks of them; the first block and the query's own are always
/// taken. Which shape a head gets depends on the prompt, and the host decides it: on a GPU the sums and shares of
/// a layer are read back, and the index of the layer is made on the host.
public struct FlexPrefill: Selector {
  /// Of the attention that is estimated.
  public var share: Float
  /// The largest distance at which the means are trusted.
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

  public var needs: SketchNeeds {
    SketchNeeds(lastRows: true, blockShares: .means(size: ShareRule.blockSize))
  }

  public func needs(keys: Int, isKept: Bool) -> SketchNeeds {
    share >= 1 || leastKeys >= keys ? .nothing : needs
  }

  public var alwaysComputed: Int { 2 * ShareRule.blockSize }

  public func deviceRequest(keys: Int) -> DeviceRequest {
    needs(keys: keys, isKept: false) == .nothing ? .dense(.budgetTakesEverything) : .madeOnHost
  }

  public func select(_ sketch: HeadSketch) throws -> HeadSelection {
    guard needs(keys: sketch.keys, isKept: false) != .nothing else {
      return HeadSelection(.all, denseReason: .budgetTakesEverything)
    }
    guard let sums = sketch.lastRowSums, let shares = sketch.blockShares,
      let estimated = shares.rows.last
    else { throw sketch.missing("the last rows' sums and the shares of its query blocks") }
    let size = ShareRule.blockSize
    var attended = [Double](repeating: 0, count: estimated.count)
    for (key, mass) in sums.vertical.enumerated() { attended[key / size] += Double(mass) }
    let distance = Self.distance(attended, estimated.map(Double.init))
    guard distance < Double(tau) else {
      let bands = VerticalSlashShare(share: share, vertical: leastKeys, slash: leastKeys)
      return HeadSelection(
        .bands(bands.selection(sums, rows: sketch.lastRows, hasSink: sketch.hasSink)))
    }
    return HeadSelection(
      .blocks(
        BlockSelection(
          blocks(shares, firstBlock: sketch.firstPosition / size, hasSink: sketch.hasSink))))
  }

  /// The square root of the Jensen-Shannon divergence of two distributions, in natural logarithms, which need not
  /// add up to 1; 0 ... sqrt(log 2).
  static func distance(_ p: [Double], _ q: [Double]) -> Double {
    let (totalP, totalQ) = (p.reduce(0, +), q.reduce(0, +))
    guard totalP > 0, totalQ > 0 else { return .infinity }
    var divergence = 0.0
    for (x, y) in zip(p, q) {
      let (x, y) = (x / totalP, y / totalQ)
      let middle = (x + y) / 2
      if x > 0 { divergence += x * log(x / middle) / 2 }
      if y > 0 { divergence += y * log(y / middle) / 2 }
    }
    return max(0, divergence).squareRoot()
  }

  /// The largest shares of all query blocks together until enough is held, with the least of each row, its first
  /// block and its own.
  private func blocks(
    _ shares: HeadBlockShares, firstBlock: Int, hasSink: Bool
  ) -> SelectedBlocks {
    let keys = shares.rows.map { $0.map { $0 > 0 ? UInt32(min($0, 1) * 1_073_741_824 + 0.5) : 0 } }
    let all = keys.joined().reduce(UInt64(0)) { $0 + UInt64($1) }
    // A sink has what a row of shares lacks of 1, and nobody can miss it.
    let whole = UInt64(keys.count) << 30
    let sink = hasSink ? whole - min(all, whole) : 0
    let wholly = UInt64((Double(share) * Double(all + sink)).rounded(.up))
    let enough = min(all, wholly - min(wholly, sink))
    // The smallest share that is taken; of equal ones all are.
    var held: UInt64 = 0
    var cut = UInt32.max
    for key in keys.joined().lazy.filter({ $0 > 0 }).sorted(by: >) {
      if held >= enough, key < cut { break }
      held += UInt64(key)
      cut = key
    }
    let least = (leastKeys - 1) / ShareRule.blockSize + 1
    var offsets: [Int32] = [0]
    var chosen: [Int32] = []
    for (row, keys) in keys.enumerated() {
      let own = firstBlock + row
      let largest = keys.indices.sorted { (keys[$1], $0) < (keys[$0], $1) }
      let taken = Set(largest.prefix(least) + keys.indices.filter { keys[$0] >= cut } + [0, own])
      chosen += taken.sorted().map(Int32.init)
      offsets.append(Int32(chosen.count))
    }
    return SelectedBlocks(
      blockSize: ShareRule.blockSize, blockOffsets: offsets, keyBlocks: chosen)
  }
}
