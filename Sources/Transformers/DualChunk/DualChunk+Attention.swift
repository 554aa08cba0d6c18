import Compute

extension LayerComputation {
  /// Attention of rows over several regions of keys, joined by their log-sum-exps. The output stands
  /// where ``queries(of:firstPosition:)`` would.
  ///
  /// - Parameters:
  ///   - hidden: The rows' hidden states.
  ///   - firstPosition: Of the first row.
  ///   - regions: At least one.
  ///   - attention: Fills o and the log-sum-exps, [rows, queryHeads], for one region; q and o may be
  ///     the same tensor.
  func attend(
    _ hidden: Tensor, firstPosition: Int, regions: [DualChunk.Region],
    attention: (_ q: Tensor, _ region: DualChunk.Region, _ o: Tensor, _ logSumExp: Tensor) throws
      -> Void
  ) throws {
    let rows = hidden.rows
    let heads = configuration.attention[0].queryHeads
    let purpose = "the parts of dual chunk attention"
    let regionLogSumExp = try backend.makeTensor(.float32, [rows, heads], purpose: purpose)
    // Of the regions so far. It stands aside, since each region's queries take the same place.
    var merged: (o: Tensor, logSumExp: Tensor)?
    for (number, region) in regions.enumerated() {
      let q = try queries(of: hidden, firstPosition: firstPosition, at: region.queryPosition)
      let isLast = number == regions.count - 1
      if let merged {
        try attention(q, region, q, regionLogSumExp)
        // The last merge goes the other way, so that the result stands where the queries stood.
        if isLast {
          try backend.mergeAttention(
            merged.o, logSumExp: merged.logSumExp, into: q, logSumExp: regionLogSumExp)
        } else {
          try backend.mergeAttention(
            q, logSumExp: regionLogSumExp, into: merged.o, logSumExp: merged.logSumExp)
        }
      } else if isLast {
        try attention(q, region, q, regionLogSumExp)
      } else {
        let first = (
          o: try backend.makeTensor(q.type, q.shape, purpose: purpose),
          logSumExp: try backend.makeTensor(.float32, [rows, heads], purpose: purpose)
        )
        try attention(q, region, first.o, first.logSumExp)
        merged = first
      }
    }
  }

  /// The queries of rows that all stand at one position, or at their own.
  private func queries(
    of hidden: Tensor, firstPosition: Int, at position: Int?
  ) throws -> Tensor {
    let q = try queries(of: hidden, firstPosition: firstPosition)
    guard let position else { return q }
    // Row r stands firstPosition - position + r too far, and is turned back by that.
    var back = rotary
    back.inverseFrequencies = rotary.inverseFrequencies.map { -$0 }
    back.attentionScaling = 1
    try backend.rotate(q, back, firstPosition: firstPosition - position)
    return q
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
    guard regions.count > 1 else {
      let q = try queries(of: hidden, firstPosition: position)
      return try backend.rowAttention(
        q: q, positions: [position], layer: keysAndValues, shape: shape, into: q, logSumExp: nil)
    }
    try attend(hidden, firstPosition: position, regions: regions) { q, region, o, logSumExp in
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
  private var restricted: [Range<Int>: SparseIndex] = [:]

  init(_ whole: SparseIndex) { self.whole = whole }

  func index(of region: DualChunk.Region) throws -> SparseIndex {
    let keys = region.firstKey..<(region.endKey ?? whole.keys)
    if keys == 0..<whole.keys { return whole }
    if let found = restricted[keys] { return found }
    let made = try whole.restricted(toKeys: keys)
    restricted[keys] = made
    return made
  }
}
