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
  /// Candidates that the heads of one layer may have beside each other, and what choosing by them takes in a
  /// layer, however many of its heads do.
  package struct Family: Sendable, Hashable {
    package var candidates: [Int]
    package var secondsOfLayer: Double

    package init(candidates: [Int], secondsOfLayer: Double = 0) {
      self.candidates = candidates
      self.secondsOfLayer = secondsOfLayer
    }
  }

  /// [head over all layers][candidate]
  package let seconds: [[Double]]
  package let errors: [[Double]]
  /// Heads of a layer, and the families that a layer chooses among.
  package let headsOfLayer: Int
  package let families: [Family]

  package init(
    seconds: [[Double]], errors: [[Double]], headsOfLayer: Int, families: [Family]
  ) {
    self.seconds = seconds
    self.errors = errors
    self.headsOfLayer = headsOfLayer
    self.families = families
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
    for first in stride(from: 0, to: seconds.count, by: max(headsOfLayer, 1)) {
      let heads = first..<min(first + headsOfLayer, seconds.count)
      let layers = families.map { layer(heads, $0, weight: weight) }
      guard
        let best = layers.min(by: {
          $0.seconds + weight * $0.error < $1.seconds + weight * $1.error
        })
      else { continue }
      choice.candidates += best.candidates
      choice.seconds += best.seconds
      choice.error += best.error
    }
    return choice
  }

  /// The best of a family for each head of a layer.
  private func layer(_ heads: Range<Int>, _ family: Family, weight: Double) -> Choice {
    var choice = Choice(candidates: [], seconds: family.secondsOfLayer, error: 0)
    for head in heads {
      let best =
        family.candidates.min {
          seconds[head][$0] + weight * errors[head][$0]
            < seconds[head][$1] + weight * errors[head][$1]
        } ?? 0
      choice.candidates.append(best)
      choice.seconds += seconds[head][best]
      choice.error += errors[head][best]
    }
    return choice
  }
}
