import MInference
import TextReports

/// The needle in a haystack, lengths by depths: MInference's figure 1 and section 4.
///
/// The paper's form: a sentence "The special magic CITY number is: NUMBER" with seven digits lies at
/// a depth, the question for it at the end, and the number must stand in the answer exactly. Its 15
/// lengths and 10 depths lie on straight lines, with 5 rounds of each. Prompts are fitted to the
/// length by counting, so no buffer of tokens is left free.
public struct NeedleTask: Sendable {
  public var lengths: [Int]
  /// 0 (beginning) to 1 (end).
  public var depths: [Double]
  /// Prompts of each length and depth.
  public var rounds: Int
  public var seed: UInt64
  /// nil: a chronicle of our own, a new one each round.
  public var haystack: Haystack?

  public static let kind = "needle"
  static let answerTokens = 32

  public init(
    lengths: [Int], depths: [Double], rounds: Int = 1, seed: UInt64 = 1, haystack: Haystack? = nil
  ) {
    self.lengths = lengths
    self.depths = depths
    self.rounds = rounds
    self.seed = seed
    self.haystack = haystack
  }

  /// `count` depths from 0 to 1, evenly apart.
  public static func evenDepths(_ count: Int) -> [Double] {
    count < 2 ? [0.5] : (0..<count).map { Double($0) / Double(count - 1) }
  }

  public var plans: [TaskPlan] {
    lengths.flatMap { length in
      depths.flatMap { depth in
        (0..<rounds).map { round in
          let id = "needle-\(length)-\(Quantity.fixed(depth * 100, 1))-\(round)"
          return TaskPlan(id: id, kind: Self.kind, length: length) { countTokens in
            try task(id: id, length: length, depth: depth, round: round, countTokens)
          }
        }
      }
    }
  }

  private func task(
    id: String, length: Int, depth: Double, round: Int, _ countTokens: TokenCounter
  ) throws -> EvaluationTask {
    // Every method, length and depth of a round sees the same fact in the same text.
    var generator = SeededGenerator(seed: seed &+ UInt64(round) &* 0x9E37)
    let city = generator.pick(Self.cities) ?? "Lisbon"
    let number = "\(1_000_000 + generator.next(below: 9_000_000))"
    let fact = "The special magic \(city) number is: \(number)."
    var task = EvaluationTask(
      id: id, kind: Self.kind, length: length, depth: depth, prompt: "",
      answerPrefix: " The special magic \(city) number is:", references: [number],
      scoring: .containsAll, maximumAnswerTokens: Self.answerTokens)
    func prompt(_ context: String) -> String {
      """
      The text below hides a special magic number. Read it closely; a question about it comes at \
      the end.

      \(context)

      Question: What is the special magic \(city) number? Answer with the number alone.
      """
    }
    let haystack = self.haystack ?? .chronicle(seed: seed &+ UInt64(round) &+ 1)
    let limit = length - Self.answerTokens
    // A token has hardly more than six bytes of prose.
    let sentences = try haystack.sentences(bytes: 6 * length)
    let hidden = { (count: Int) in
      prompt(Haystack.hide([(fact, depth)], in: sentences[..<count]))
    }
    let count = try LengthFitting.largestSize(
      upTo: sentences.count, limit: limit, rate: 25
    ) { try countTokens(hidden($0) + task.answerPrefix) }
    guard let count else {
      let needed = try countTokens(hidden(0) + task.answerPrefix) + Self.answerTokens
      throw TaskError.tooShort(kind: Self.kind, length: length, needed: needed)
    }
    task.prompt = hidden(count)
    return task
  }

  static let cities = [
    "Lisbon", "Oslo", "Nairobi", "Kyoto", "Lima", "Vienna", "Quito", "Hanoi", "Tunis", "Dublin",
    "Bogota", "Cairo", "Seville", "Turin", "Bergen", "Accra", "Perth", "Leeds", "Osaka", "Riga",
    "Malmo", "Dakar", "Porto", "Gdansk", "Izmir", "Havana", "Lyon", "Ghent", "Bilbao", "Utrecht",
  ]
}
