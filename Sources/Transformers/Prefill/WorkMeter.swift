import Compute

/// Turns finished work into the fraction that a progress bar shows.
///
/// Work is counted in multiply-adds: of the linear layers for each row, of attention for each pair
/// that is computed. How many pairs a chunk computes is known once its index is there; before, they
/// are guessed from the density so far.
struct WorkMeter {
  private let pairCost: Double
  private let keyValueCost: Double
  private let restCost: Double
  /// Density that is assumed before the first index is known.
  private var guess: Double
  private var done = 0.0
  private var remainingRows: Double
  private var unplannedPairs: Double
  private var plannedPairs = 0.0
  private var seenCausal = 0.0
  private var seenComputed = 0.0
  private var fraction = 0.0

  /// - Parameters:
  ///   - plan: The chunks to come.
  ///   - layers: The layers that they pass through.
  ///   - isSparse: Whether fewer than all pairs are expected to be computed.
  init(
    plan: ChunkPlan, configuration: DecoderConfiguration, layers: Range<Int>, isSparse: Bool
  ) {
    let hidden = Double(configuration.hiddenSize)
    pairCost = 2 * Double(configuration.headDim)
    keyValueCost = 2 * hidden * Double(configuration.keyValueWidth)
    restCost =
      2 * hidden * Double(configuration.queryWidth)
      + 3 * hidden * Double(layers.map(configuration.activeWidth).max() ?? 0)
    guess = isSparse ? 0.2 : 1
    let rows = plan.chunks.reduce(0) { $0 + $1.count }
    remainingRows = Double(rows * layers.count) * (keyValueCost + restCost)
    unplannedPairs = configuration.attention[layers].reduce(0.0) { sum, shape in
      plan.chunks.reduce(sum) { $0 + Self.pairs($1, shape) }
    }
  }

  private static func pairs(_ chunk: Range<Int>, _ shape: AttentionShape) -> Double {
    Double(shape.queryHeads)
      * Double(
        SparseIndex.causalPairs(
          firstPosition: chunk.lowerBound, rows: chunk.count, slidingWindow: shape.slidingWindow))
  }

  /// Reports that keys and values of `rows` rows are stored.
  mutating func storedRows(_ rows: Int) { finish(rows: Double(rows) * keyValueCost) }

  /// The pairs that one layer of a chunk computes are known.
  mutating func planned(computed: Int, causal: Int) {
    unplannedPairs -= Double(causal)
    plannedPairs += Double(computed)
    learned(computed: computed, causal: causal)
  }

  /// The index of one layer of a chunk is made, but how many pairs it computes is not known yet.
  ///
  /// - Returns: What is assumed.
  mutating func planned(unknownOfCausal causal: Int) -> Int {
    let computed = (guess * Double(causal)).rounded()
    unplannedPairs -= Double(causal)
    plannedPairs += computed
    return Int(computed)
  }

  /// So many pairs turned out to be computed, of so many causal ones: what is to come is guessed from it.
  mutating func learned(computed: Int, causal: Int) {
    seenCausal += Double(causal)
    seenComputed += Double(computed)
    if seenCausal > 0 { guess = seenComputed / seenCausal }
  }

  /// Removes one layer's attention over `causal` pairs and the feed-forward of `rows` rows from the planned work.
  mutating func skipped(rows: Int, causal: Int) {
    unplannedPairs -= Double(causal)
    remainingRows -= Double(rows) * restCost
  }

  /// Reports that attention over `pairs` pairs and the feed-forward of `rows` rows are done.
  mutating func finishedRows(_ rows: Int, pairs: Double) {
    plannedPairs -= pairs
    done += pairs * pairCost
    finish(rows: Double(rows) * restCost)
  }

  private mutating func finish(rows cost: Double) {
    remainingRows -= cost
    done += cost
  }

  /// 0 to 1; never goes back, though the guesses may.
  mutating func currentFraction() -> Double {
    let remaining = remainingRows + pairCost * (plannedPairs + max(0, unplannedPairs) * guess)
    fraction = max(fraction, min(1, done / (done + max(0, remaining))))
    return fraction
  }
}
