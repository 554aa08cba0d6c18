#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Gives every head a candidate of its own, by what each loses and costs there: the sum over heads of
/// seconds + weight * error is least, for the weight that meets the bound (Everett's method of Lagrange
/// multipliers).
package struct HeadAssignment {
  /// [head over all layers][candidate]
  package let seconds: [[Double]]
  package let errors: [[Double]]

  package init(seconds: [[Double]], errors: [[Double]]) {
    self.seconds = seconds
    self.errors = errors
  }

  package struct Choice: Hashable {
    /// For each head its candidate.
    package var candidates: [Int]
    package var seconds: Double
    package var error: Double
  }

  /// The cheapest choice, among those that some weight gives, that loses at most so much; nil where
  /// none does.
  package func cheapest(losing most: Double) -> Choice? {
    best {
      $0.error <= most
    } by: {
      $0.seconds
    }
  }

  /// The choice that loses least within so many seconds; nil where none takes so few.
  package func best(within most: Double) -> Choice? {
    best {
      $0.seconds <= most
    } by: {
      $0.error
    }
  }

  private func best(
    _ isAllowed: (Choice) -> Bool, by value: (Choice) -> Double
  ) -> Choice? {
    // Weights from where time alone counts to where loss alone does, ten steps an octave of ten.
    let unit = max(seconds.joined().max() ?? 0, 1e-12) / max(errors.joined().max() ?? 0, 1e-12)
    var found: Choice?
    for step in -60...160 {
      let choice = choice(weight: unit * pow(10, Double(step) / 10))
      if isAllowed(choice), found.map({ value(choice) < value($0) }) ?? true { found = choice }
    }
    return found
  }

  private func choice(weight: Double) -> Choice {
    var choice = Choice(candidates: [], seconds: 0, error: 0)
    for (seconds, errors) in zip(seconds, errors) {
      let best =
        seconds.indices.min {
          seconds[$0] + weight * errors[$0] < seconds[$1] + weight * errors[$1]
        } ?? 0
      choice.candidates.append(best)
      choice.seconds += seconds[best]
      choice.error += errors[best]
    }
    return choice
  }
}
