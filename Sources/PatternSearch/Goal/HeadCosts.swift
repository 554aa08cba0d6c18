import SparseAttention

/// What every candidate is predicted to take and to lose in every head of the probed text. Dense
/// attention, the last candidate, loses nothing and takes its share of the measured kernel.
struct HeadCosts {
  /// Seconds of the attention kernel, all heads dense.
  let denseSeconds: Double
  /// [head over all layers][candidate]: seconds of the kernel.
  private let kernelSeconds: [[Double]]
  private let errors: [[Double]]
  /// Seconds of selection for all heads, by candidate.
  private let selectionSeconds: [Double]
  private let layers: Int

  /// - Parameter denseSeconds: As measured on the probed text.
  init(_ probes: HeadProbes, denseSeconds: Double) {
    self.denseSeconds = denseSeconds
    layers = probes.errors.count
    let count = probes.errors.reduce(0) { $0 + $1.count }
    let ofHead = denseSeconds / Double(max(count, 1))
    kernelSeconds = probes.densities.joined().map { $0.map { $0 * ofHead } + [ofHead] }
    selectionSeconds = probes.selectionSeconds + [0]
    errors = probes.errors.joined().map { $0.map { $0.isNaN ? .infinity : $0 } + [0] }
  }

  /// Each candidate for all heads alike.
  var frontier: UniformFrontier {
    let candidates = selectionSeconds.indices
    return UniformFrontier(
      seconds: candidates.map { candidate in
        kernelSeconds.reduce(selectionSeconds[candidate]) { $0 + $1[candidate] }
      },
      errors: candidates.map { candidate in errors.reduce(0) { $0 + $1[candidate] } })
  }

  /// Candidates for single heads.
  ///
  /// - Parameters:
  ///   - candidates: Dense attention last.
  ///   - selectsByLayer: Whether the device selects for all heads of a layer in one structure, so that one
  ///     head costs about what all do: then the heads of a layer have one selector, with budgets of their
  ///     own, or are dense.
  func assignment(_ candidates: [HeadPattern], selectsByLayer: Bool) -> HeadAssignment {
    let count = max(kernelSeconds.count, 1)
    let headsOfLayer = count / max(layers, 1)
    guard selectsByLayer else {
      let seconds = kernelSeconds.map { head in
        zip(head, selectionSeconds).map { $0 + $1 / Double(count) }
      }
      return HeadAssignment(
        seconds: seconds, errors: errors, headsOfLayer: headsOfLayer,
        families: [HeadAssignment.Family(candidates: Array(candidates.indices))])
    }
    let dense = candidates.count - 1
    let families = Set(candidates.dropLast().map(\.name)).sorted().map { name in
      let own = candidates.indices.filter { candidates[$0].name == name }
      return HeadAssignment.Family(
        candidates: own + [dense],
        secondsOfLayer: (own.map { selectionSeconds[$0] }.max() ?? 0) / Double(max(layers, 1)))
    }
    return HeadAssignment(
      seconds: kernelSeconds, errors: errors, headsOfLayer: headsOfLayer,
      families: families + [HeadAssignment.Family(candidates: [dense])])
  }

  /// The sum of errors of a choice, [layer][head].
  func error(_ patterns: [[HeadPattern]], _ candidates: [HeadPattern]) -> Double {
    zip(patterns.joined(), errors).reduce(0) { sum, head in
      sum + (candidates.firstIndex(of: head.0).map { head.1[$0] } ?? .infinity)
    }
  }
}
