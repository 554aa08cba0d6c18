/// Least total seconds such that the mean recall over heads reaches a target and every head keeps a
/// floor: a multiple-choice knapsack.
///
/// Each head starts at its cheapest option. Steps along the upper hull of (seconds, recall) of each
/// head are taken in the order of recall gained for each second (the Lagrangian's path) until the
/// target is reached; then single exchanges take back what the last step overshot. The result costs
/// at most one hull step of one head more than the optimum.
struct MeanRecallSolver {
  let heads: [HeadOptions]
  let target: Double
  let floor: RecallFloor

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
    let hulls = zip(heads, allowed).map { Self.hull($0, $1) }
    var chosen = hulls.map { $0[0] }
    var steps: [Step] = []
    for (head, hull) in hulls.enumerated() {
      for (from, to) in zip(hull, hull.dropFirst()) {
        let (a, b) = (heads[head].options[from], heads[head].options[to])
        steps.append(
          Step(head: head, option: to, gain: b.recall - a.recall, cost: b.seconds - a.seconds))
      }
    }
    steps.sort { $0.gain * $1.cost > $1.gain * $0.cost }
    // Rounding must not cost a step: dense everywhere reaches every target up to 1.
    let wanted = target * Double(heads.count) - 1e-9
    var sum = zip(heads, chosen).reduce(0) { $0 + $1.0.options[$1.1].recall }
    for step in steps where sum < wanted {
      chosen[step.head] = step.option
      sum += step.gain
    }
    exchange(&chosen, allowed, sum: sum, wanted: wanted)
    return chosen
  }

  /// Options on the upper hull, from the cheapest (of which the one with most recall) to the one
  /// with most recall; recall gained for each second falls along it.
  static func hull(_ head: HeadOptions, _ allowed: [Int]) -> [Int] {
    let options = head.options
    let sorted = allowed.sorted {
      (options[$0].seconds, -options[$0].recall) < (options[$1].seconds, -options[$1].recall)
    }
    var hull: [Int] = []
    for next in sorted {
      if let last = hull.last, options[next].recall <= options[last].recall { continue }
      while hull.count >= 2 {
        let (a, b) = (options[hull[hull.count - 2]], options[hull[hull.count - 1]])
        let c = options[next]
        // b lies below the line from a to c.
        if (b.recall - a.recall) * (c.seconds - a.seconds)
          <= (c.recall - a.recall) * (b.seconds - a.seconds)
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
          if saved > best?.saved ?? 0, sum - now.recall + other.recall >= wanted {
            best = (head, option, saved)
          }
        }
      }
      guard let best else { return }
      sum += heads[best.head].options[best.option].recall
      sum -= heads[best.head].options[chosen[best.head]].recall
      chosen[best.head] = best.option
    }
  }
}
