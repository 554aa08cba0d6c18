import Compute

extension LayerComputation {
  /// Attention of rows over several regions of keys, joined by their log-sum-exps.
  ///
  /// - Parameters:
  ///   - q: The rows' queries, turned by their own positions. The output takes their place.
  ///   - firstPosition: Of the first row.
  ///   - regions: At least one.
  ///   - attention: Fills o and the log-sum-exps, [rows, queryHeads], for one region; q and o may be
  ///     the same tensor.
  func attend(
    _ q: Tensor, firstPosition: Int, regions: [DualChunk.Region],
    attention: (_ q: Tensor, _ region: DualChunk.Region, _ o: Tensor, _ logSumExp: Tensor) throws
      -> Void
  ) throws {
    let purpose = "the parts of dual chunk attention"
    func sums() throws -> Tensor {
      try backend.makeTensor(.float32, [q.rows, q.shape[1]], purpose: purpose)
    }
    func attend(_ region: DualChunk.Region, _ q: Tensor, _ o: Tensor, _ logSumExp: Tensor) throws {
      try turn(q, firstPosition: firstPosition, to: region.queryPosition)
      try attention(q, region, o, logSumExp)
    }
    let regionSums = try sums()
    guard regions.count > 1 else { return try attend(regions[0], q, q, regionSums) }
    // Of the regions so far.
    let merged = try backend.makeTensor(q.type, q.shape, purpose: purpose)
    let mergedSums = try sums()
    try attend(regions[0], q, merged, mergedSums)
    if regions.count > 2 {
      let turned = try backend.makeTensor(q.type, q.shape, purpose: purpose)
      for region in regions[1..<regions.count - 1] {
        try backend.gatherRows(q, rows: Array(0..<Int32(q.rows)), into: turned)
        try attend(region, turned, turned, regionSums)
        try backend.mergeAttention(
          turned, logSumExp: regionSums, into: merged, logSumExp: mergedSums)
      }
    }
    // The last merge goes the other way, so that the result stands where the queries stood.
    try attend(regions[regions.count - 1], q, q, regionSums)
    try backend.mergeAttention(merged, logSumExp: mergedSums, into: q, logSumExp: regionSums)
  }

  /// Turns queries of rows from `firstPosition` on so that all of them stand at `position`; nil: they
  /// stay at their own.
  private func turn(_ q: Tensor, firstPosition: Int, to position: Int?) throws {
    guard let position else { return }
    // Row r stands firstPosition - position + r too far, and is turned back by that.
    var back = rotary
    back.inverseFrequencies = rotary.inverseFrequencies.map { -$0 }
    back.attentionScaling = 1
    try backend.rotate(q, back, firstPosition: firstPosition - position)
  }
}

extension LayerComputation {
  /// Dense attention of one row, over its regions where there are several. The output stands where
  /// ``queries(of:firstPosition:)`` would.
  func attendRow(
    _ hidden: Tensor, position: Int, keysAndValues: KeyValueLayer, shape: AttentionShape,
    dualChunk: DualChunk?
  ) throws {
    let regions = dualChunk?.regions(ofRowsFrom: position) ?? []
    let q = try queries(of: hidden, firstPosition: position)
    guard regions.count > 1 else {
      return try backend.rowAttention(
        q: q, positions: [position], layer: keysAndValues, shape: shape, into: q, logSumExp: nil)
    }
    try attend(q, firstPosition: position, regions: regions) { q, region, o, logSumExp in
      // The last key of the region, and a window that reaches back to its first.
      let last = (region.endKey ?? position + 1) - 1
      var shape = shape
      shape.slidingWindow = last + 1 - region.firstKey
      try backend.rowAttention(
        q: q, positions: [last], layer: keysAndValues, shape: shape, into: o,
        logSumExp: logSumExp)
    }
  }
}

/// The indices of one (layer, chunk) of a prompt for the regions of its rows, made when first asked
/// for.
final class RegionIndices {
  private let whole: SparseIndex
  /// Whether row sets are cut, once for all blocks of rows: for kernels that do not look at the range.
  private let areCut: Bool
  private var restricted: [Range<Int>: SparseIndex] = [:]

  init(_ whole: SparseIndex, areCut: Bool) {
    self.whole = whole
    self.areCut = areCut
  }

  func index(of region: DualChunk.Region) throws -> SparseIndex {
    let keys = region.firstKey..<(region.endKey ?? whole.keys)
    if keys == 0..<whole.keys { return whole }
    if let found = restricted[keys] { return found }
    let part = try whole.restricted(toKeys: keys)
    let made = areCut ? .tiles(try part.hostTiles("dual chunk attention")) : part
    restricted[keys] = made
    return made
  }
}
