import Compute

extension RowWorkspace.Step {
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
    let shape = configuration.attention[0]
    func logSumExps() throws -> Tensor {
      try backend.makeTensor(
        .float32, [hidden.rows, shape.queryHeads], purpose: "the parts of dual chunk attention")
    }
    let part = try logSumExps()
    var whole: (o: Tensor, logSumExp: Tensor)?
    for (number, region) in regions.enumerated() {
      let q = try queries(of: hidden, firstPosition: firstPosition, at: region.queryPosition)
      let isLast = number == regions.count - 1
      guard let whole else {
        // The first of several goes aside, for the next one's queries take its place.
        let o =
          isLast
          ? q
          : try backend.makeTensor(
            q.type, q.shape, purpose: "the parts of dual chunk attention")
        whole = (o, try logSumExps())
        try attention(q, region, o, whole?.logSumExp ?? part)
        continue
      }
      try attention(q, region, q, part)
      if isLast {
        try backend.mergeAttention(
          whole.o, logSumExp: whole.logSumExp, into: q, logSumExp: part)
      } else {
        try backend.mergeAttention(
          q, logSumExp: part, into: whole.o, logSumExp: whole.logSumExp)
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

extension RowWorkspace.Step {
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
