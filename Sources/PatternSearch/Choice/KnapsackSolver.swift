/// Least total seconds such that the values of the heads' options add up to a target and every head
/// keeps a floor: a multiple-choice knapsack. Dense, the first option, has the most value.
///
/// Each head starts at its cheapest option. Steps along the upper hull of (seconds, value) of each
/// head are taken in the order of value gained for each second (the Lagrangian's path) until the
/// target is reached; then single exchanges take back what the last step overshot. The result costs
/// at most one hull step of one head more than the optimum.
struct KnapsackSolver {
  let heads: [HeadOptions]
  let floor: RecallFloor
  let target: Double
  let value: (HeadOption) -> Double

  private struct Step {
    var head: Int
    var option: Int
    var gain: Double
    var cost: Double
  }

  /// The chosen option of each head.
  func solve() -> [Int] {
    let allowed = heads.map { head in
      head.options.indices.filter { $0 == 0 || floor.isKept(by: head.options[$0]) }
    }
    let hulls = zip(heads, allowed).map { hull($0, $1) }
    var chosen = hulls.map { $0[0] }
    var steps: [Step] = []
    for (head, hull) in hulls.enumerated() {
      for (from, to) in zip(hull, hull.dropFirst()) {
        let (a, b) = (heads[head].options[from], heads[head].options[to])
        steps.append(
          Step(head: head, option: to, gain: value(b) - value(a), cost: b.seconds - a.seconds))
      }
    }
    steps.sort { $0.gain * $1.cost > $1.gain * $0.cost }
    // Rounding must not cost a step: dense everywhere reaches every target that can be asked for.
    let wanted = target - 1e-9
    var sum = zip(heads, chosen).reduce(0) { $0 + value($1.0.options[$1.1]) }
    for step in steps where sum < wanted {
      chosen[step.head] = step.option
      sum += step.gain
    }
    exchange(&chosen, allowed, sum: sum, wanted: wanted)
    return chosen
  }

  /// Options on the upper hull, from the cheapest (of which the one with most value) to the one
  /// with most value; value gained for each second falls along it.
  private func hull(_ head: HeadOptions, _ allowed: [Int]) -> [Int] {
    let points = head.options.map { (seconds: $0.seconds, value: value($0)) }
    let sorted = allowed.sorted {
      (points[$0].seconds, -points[$0].value) < (points[$1].seconds, -points[$1].value)
    }
    var hull: [Int] = []
    for next in sorted {
      if let last = hull.last, points[next].value <= points[last].value { continue }
      while hull.count >= 2 {
        let (a, b) = (points[hull[hull.count - 2]], points[hull[hull.count - 1]])
        let c = points[next]
        // b lies below the line from a to c.
        if (b.value - a.value) * (c.seconds - a.seconds)
          <= (c.value - a.value) * (b.seconds - a.seconds)
        {
          hull.removeLast()
        } else {
          break
        }
      }
      hull.append(next)
    }
    return hull
  }

  /// Takes, as long as there is one, the exchange of one head's option that saves most and still
  /// reaches the target.
  private func exchange(
    _ chosen: inout [Int], _ allowed: [[Int]], sum: Double, wanted: Double
  ) {
    var sum = sum
    while true {
      var best: (head: Int, option: Int, saved: Double)?
      for (head, options) in heads.enumerated() {
        let now = options.options[chosen[head]]
        for option in allowed[head] {
          let other = options.options[option]
          let saved = now.seconds - other.seconds
          if saved > best?.saved ?? 0, sum - value(now) + value(other) >= wanted {
            best = (head, option, saved)
          }
        }
      }
      guard let best else { return }
      sum += value(heads[best.head].options[best.option])
      sum -= value(heads[best.head].options[chosen[best.head]])
      chosen[best.head] = best.option
    }
  }
}
