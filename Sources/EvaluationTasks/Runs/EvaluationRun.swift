/// Tasks by methods: every task is put to every method before the next one is written.
public enum EvaluationRun {
  /// Where a run is.
  public struct Progress: Sendable {
    public var task: String
    public var method: String
    /// Results that are there, and results in all.
    public var done: Int
    public var total: Int
    /// How much of the prompt at hand is read, and its tokens.
    public var fraction: Double
    public var tokens: Int
  }

  /// Runs what the results file does not hold yet.
  ///
  /// - Parameters:
  ///   - results: a file of JSON lines, begun or continued; nil: none.
  ///   - run: names and values that tell this run from others.
  /// - Returns: the results of these tasks and methods, in their order.
  /// - Throws: ``TaskError``, ``RunError``, and what the runner throws.
  public static func run(
    _ plans: [TaskPlan], on runner: some PromptRunner, results: String? = nil,
    run: [(name: String, value: String)] = [],
    progress: @escaping @Sendable (Progress) -> Void = { _ in }
  ) async throws -> [RunRecord] {
    var log = try RunLog<RunRecord>(path: results, run: run)
    let methods = runner.methods
    var done = 0
    for plan in plans {
      let missing = methods.filter { log[plan.id, $0] == nil }
      done += methods.count - missing.count
      guard !missing.isEmpty else { continue }
      let task = try plan.task { try runner.countTokens($0) }
      for method in missing {
        let finished = done
        let answer = try await runner.answer(task, method: method) { fraction, tokens in
          progress(
            Progress(
              task: task.id, method: method, done: finished, total: plans.count * methods.count,
              fraction: fraction, tokens: tokens))
        }
        try log.append(RunRecord(task, method: method, answer: answer))
        done += 1
      }
    }
    return plans.flatMap { plan in methods.compactMap { log[plan.id, $0] } }
  }
}
