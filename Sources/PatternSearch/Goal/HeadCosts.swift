import SparseAttention

/// What every candidate is predicted to take and to lose in every head of the probed text. Dense
/// attention, the last candidate, loses nothing and takes its share of the measured kernel.
struct HeadCosts {
  /// Seconds of the attention kernel, all heads dense.
  let denseSeconds: Double
  /// [head over all layers][candidate]
  let seconds: [[Double]]
  let errors: [[Double]]

  /// - Parameter denseSeconds: As measured on the probed text.
  init(_ probes: HeadProbes, denseSeconds: Double) {
    self.denseSeconds = denseSeconds
    let count = probes.errors.reduce(0) { $0 + $1.count }
    let ofHead = denseSeconds / Double(max(count, 1))
    seconds = probes.densities.joined().map { densities in
      zip(densities, probes.selectionSeconds).map { density, selection in
        density * ofHead + selection / Double(max(count, 1))
      } + [ofHead]
    }
    errors = probes.errors.joined().map { $0.map { $0.isNaN ? .infinity : $0 } + [0] }
  }

  /// Each candidate for all heads alike.
  var frontier: UniformFrontier {
    let candidates = (seconds.first ?? []).indices
    return UniformFrontier(
      seconds: candidates.map { candidate in seconds.reduce(0) { $0 + $1[candidate] } },
      errors: candidates.map { candidate in errors.reduce(0) { $0 + $1[candidate] } })
  }

  var assignment: HeadAssignment { HeadAssignment(seconds: seconds, errors: errors) }

  /// The sum of errors of a choice, [layer][head].
  func error(_ patterns: [[HeadPattern]], _ candidates: [HeadPattern]) -> Double {
    zip(patterns.joined(), errors).reduce(0) { sum, head in
      sum + (candidates.firstIndex(of: head.0).map { head.1[$0] } ?? .infinity)
    }
  }
}
