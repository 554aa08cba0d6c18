import SparseAttention
import Transformers

/// What the entries of a search's work file have to agree with. The file's checksum finds damage, not
/// intent: an entry of other heads or with numbers that no measurement gives is passed over like a damaged
/// line, so that nothing indexes or adds by it.
struct WorkShape {
  let layers: Int
  let heads: Int
  /// Candidates that are measured: all of a search by heads, all but dense attention of one by goals.
  let candidates: Int

  func holds(_ entry: WorkEntry) -> Bool {
    switch entry {
    case .identity:
      true
    case .calibration(let costs):
      Self.coefficients(costs).allSatisfy(Self.isDuration)
    case .layer(let sample, let layer, let measured):
      sample >= 0 && (0..<layers).contains(layer) && measured.count == heads
        && measured.allSatisfy { head in
          head.count == candidates && head.allSatisfy(Self.isMeasured)
            // Dense attention comes first.
            && head.first.map { $0.recall >= 1 && $0.tenthPercentile >= 1 } ?? true
        }
    case .dense(let sample, _, let stored):
      sample >= 0 && stored.durations.allSatisfy(Self.isDuration)
    case .probes(let probes, let seconds):
      isByHead(probes.errors, candidates) && isByHead(probes.densities, candidates)
        && probes.selectionSeconds.count == candidates
        && probes.selectionSeconds.allSatisfy(Self.isDuration) && Self.isDuration(seconds)
    case .reading(_, let sample, _, let share, let reading, let seconds):
      sample >= 0 && (0...1).contains(share) && Self.isDuration(seconds)
        && reading.densities.count == layers
        && reading.densities.allSatisfy { $0.count == heads && $0.allSatisfy(Self.isNumber) }
        && Self.isNumber(reading.density) && Self.isCount(reading.length)
        && Self.isMeasured(reading.sums)
        && [
          reading.attentionSeconds, reading.seconds, reading.denseAttentionSeconds,
          reading.denseSeconds,
        ].allSatisfy(Self.isDuration)
    }
  }

  /// Whether numbers are there for each layer, head and candidate.
  private func isByHead(_ numbers: [[[Double]]], _ candidates: Int) -> Bool {
    numbers.count == layers
      && numbers.allSatisfy { layer in
        layer.count == heads
          && layer.allSatisfy { $0.count == candidates && $0.allSatisfy(Self.isNumber) }
      }
  }

  private static func isMeasured(_ measurement: CandidateMeasurement) -> Bool {
    let work = measurement.work
    return [measurement.recall, measurement.tenthPercentile].allSatisfy((0...1.001).contains)
      && [measurement.outputError ?? 0, measurement.residualError].allSatisfy { $0 >= 0 }
      && [work.tilePairs, work.columnPairs, work.runs, work.tileRows].allSatisfy(isCount)
  }

  private static func isMeasured(_ sums: AgreementSums) -> Bool {
    [sums.divergence, sums.loss, sums.referenceLoss].allSatisfy(isNumber)
      && [sums.positions, sums.same, sums.scored, sums.right, sums.referenceRight]
        .allSatisfy(isCount)
  }

  private static func coefficients(_ costs: CostModel) -> [Double] {
    [
      costs.launch, costs.tilePair, costs.columnPair, costs.run, costs.tileRow, costs.estimate,
      costs.estimateKey, costs.poolRow, costs.blockPair, costs.buildRun, costs.buildTileRow,
    ]
  }

  private static func isNumber(_ value: Double) -> Bool { value.isFinite }

  /// Seconds up to thirty years.
  private static func isDuration(_ seconds: Double) -> Bool { (0...1e9).contains(seconds) }

  /// Far below what adding over layers, heads and samples overflows.
  private static func isCount(_ count: Int) -> Bool { (0...1 << 45).contains(count) }
}
