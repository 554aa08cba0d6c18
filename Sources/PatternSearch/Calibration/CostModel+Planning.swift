public import SparseAttention

extension CostModel {
  /// These costs in the planner's unit, a pair in a tile (a pair of dense attention). The defaults where
  /// nothing could be fitted.
  ///
  /// - Parameter denseBelow: keys below which dense is faster.
  public func planning(denseBelow: Int) -> SparseCostModel {
    guard tilePair > 0, columnPair.isFinite, run.isFinite else {
      return SparseCostModel(denseBelow: denseBelow)
    }
    return SparseCostModel(
      denseBelow: denseBelow, tilePair: 1, columnPair: columnPair / tilePair, run: run / tilePair)
  }
}

extension SearchResult {
  /// The costs that the planner uses with these patterns on this device.
  ///
  /// Never below the default crossover: the prediction leaves out what a sparse layer does around its
  /// kernels, and at two thousand tokens a whole prefill was slower than dense although its kernels
  /// were predicted to be faster.
  public var planningCosts: SparseCostModel {
    costs.planning(denseBelow: max(crossover, SparseCostModel().denseBelow))
  }

  /// The least number of keys, in steps of 256, from which on all heads together are predicted to be
  /// faster with the chosen patterns than densely, estimation included.
  ///
  /// Predicted from the longest sample: budgets are fixed, so what a sparse head computes grows with
  /// the length, and what a dense head computes with its square. The sample's own length where no
  /// shorter one is faster; the default where every head is dense.
  var crossover: Int {
    guard let sample = samples.max(by: { $0.tokens < $1.tokens }),
      chosenPatterns.joined().contains(where: { $0 != .dense })
    else { return SparseCostModel().denseBelow }
    var crossover = sample.tokens
    for keys in stride(from: 256, to: sample.tokens, by: 256).reversed() {
      guard secondsSaved(at: keys, sample) > 0 else { break }
      crossover = keys
    }
    return crossover
  }

  /// Seconds that the sparse heads save in a prompt of `keys` keys that is read in one chunk.
  private func secondsSaved(at keys: Int, _ sample: SampleMeasurement) -> Double {
    let part = Double(keys) / Double(sample.tokens)
    var saved = 0.0
    for layer in sample.layers.indices {
      for head in sample.layers[layer].indices {
        let candidate = chosen(layer: layer, head: head)
        guard patterns[candidate] != .dense else { continue }
        let measured = sample.layers[layer][head]
        let dense = measured[0].work.scaled(pairs: part * part, rows: part)
        let sparse = measured[candidate].work.scaled(pairs: part, rows: part)
        let denseSeconds = costs.kernelSeconds(dense)
        // Where its index costs more than dense the planner computes the head densely.
        let kernel =
          sparse.pairs < dense.pairs
          ? min(costs.kernelSeconds(sparse), denseSeconds) : denseSeconds
        saved +=
          denseSeconds - kernel
          - costs.indexSeconds(sparse, pattern: patterns[candidate], keys: keys, rows: keys)
      }
    }
    return saved
  }
}

extension IndexWork {
  fileprivate func scaled(pairs: Double, rows: Double) -> IndexWork {
    func scaled(_ count: Int, _ factor: Double) -> Int { Int((Double(count) * factor).rounded()) }
    return IndexWork(
      tilePairs: scaled(tilePairs, pairs), columnPairs: scaled(columnPairs, pairs),
      runs: scaled(runs, rows), tileRows: scaled(tileRows, rows))
  }
}
