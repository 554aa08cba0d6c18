#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// How a router's logits choose experts for a row, and what each expert's output is multiplied with.
///
/// Source: transformers, `models/qwen3_moe` (softmax), `models/gpt_oss` (softmax of logits with a bias, which over the
/// chosen ones is the normalised one over all) and `models/glm4_moe` (sigmoid, a bias for the choice, groups), which follows DeepSeek-V3 (arXiv 2412.19437, section 2.1.2).
public struct RoutingRule: Sendable, Hashable {
  /// What a logit becomes before it is a weight.
  public enum Score: String, Sendable, Hashable {
    /// Over all experts; the choice is by the logits themselves. A bias of the expert is a part of the logit.
    case softmax
    /// Of each by itself; the choice is by the score plus a bias of the expert.
    case sigmoid
  }

  /// Experts that there are.
  public var experts: Int
  /// Experts chosen for a row.
  public var perRow: Int
  public var score: Score
  /// Groups of consecutive experts of equal size, of which ``chosenGroups`` may be chosen from: those
  /// with the largest sums of their two best choices.
  public var groups: Int
  public var chosenGroups: Int
  /// Whether the weights of a row are divided by their sum.
  public var normalizes: Bool
  /// What every weight is multiplied with in the end.
  public var scaling: Float

  public init(
    experts: Int, perRow: Int, score: Score, groups: Int = 1, chosenGroups: Int = 1,
    normalizes: Bool, scaling: Float = 1
  ) {
    self.experts = experts
    self.perRow = perRow
    self.score = score
    self.groups = groups
    self.chosenGroups = chosenGroups
    self.normalizes = normalizes
    self.scaling = scaling
  }

  /// The most experts and the most chosen for a row that devices have kernels for.
  public static let mostExperts = 512
  public static let mostPerRow = 32

  /// What divides the weights is never zero. Source: transformers, `Glm4MoeTopkRouter`.
  static let leastSum = 1e-20

  /// The experts of one row, the best first, of equals the lower one, and their weights.
  ///
  /// - Parameters:
  ///   - logits: One for each expert.
  ///   - bias: Added to the logits of a softmax, and to sigmoid scores for the choice alone; empty for none.
  public func choose(
    logits: [Double], bias: [Double] = []
  ) -> (experts: [Int], weights: [Double]) {
    let scores: [Double]
    var choices: [Double]
    switch score {
    case .softmax:
      let logits = bias.isEmpty ? logits : zip(logits, bias).map { $0 + $1 }
      let largest = logits.max() ?? 0
      let exponentials = logits.map { exp($0 - largest) }
      let sum = exponentials.reduce(0, +)
      scores = exponentials.map { $0 / sum }
      choices = logits
    case .sigmoid:
      scores = logits.map { 1 / (1 + exp(-$0)) }
      choices = scores
      for (expert, bias) in bias.enumerated() { choices[expert] += bias }
    }
    if groups > 1 {
      let size = experts / groups
      let sums = (0..<groups).map { group in
        choices[group * size..<(group + 1) * size].sorted(by: >).prefix(2).reduce(0, +)
      }
      let chosen = Set(largest(sums, chosenGroups))
      for expert in 0..<experts where !chosen.contains(expert / size) {
        choices[expert] = -.infinity
      }
    }
    let chosen = largest(choices, perRow)
    var weights = chosen.map { scores[$0] }
    if normalizes {
      let sum = weights.reduce(0, +) + Self.leastSum
      weights = weights.map { $0 / sum }
    }
    return (chosen, weights.map { $0 * Double(scaling) })
  }

  /// The indices of the largest values, the largest first, of equals the lower one.
  private func largest(_ values: [Double], _ count: Int) -> [Int] {
    Array(
      values.indices.sorted { (values[$1], $0) < (values[$0], $1) }.prefix(count))
  }

  /// Whether the numbers fit each other.
  package var isValid: Bool {
    (1...Self.mostExperts).contains(experts) && (1...min(experts, Self.mostPerRow)).contains(perRow)
      && groups >= 1 && experts % groups == 0 && (1...groups).contains(chosenGroups)
      && (groups == 1 || experts / groups >= 2 && perRow <= experts / groups * chosenGroups)
      && (groups == 1 || score == .sigmoid) && scaling.isFinite
  }
}
