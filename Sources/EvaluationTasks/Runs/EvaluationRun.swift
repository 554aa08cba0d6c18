/// The driver of all evaluations: measures every unit of work with every method.
///
/// Every unit is measured with every method before the next one is prepared. Results go to a file of
/// JSON lines as they come, and what the file holds already is not measured again.
public enum EvaluationRun {
  /// Where a run is.
  public struct Progress: Sendable {
    public var task: String
    public var method: String
    /// Results that are there, and results in all.
    public var done: Int
    public var total: Int
    /// The fraction of the current prompt that is read, and its tokens.
    public var fraction: Double
    public var tokens: Int
  }

  /// Told the fraction of a prompt that is read, and its tokens.
  public typealias ReadingProgress = @Sendable (_ fraction: Double, _ tokens: Int) -> Void

  /// Where results are kept, and how this run is identified.
  public struct Results: Sendable {
    /// A file of JSON lines, begun or continued; nil: none.
    public var path: String?
    /// Names and values in the file's first line.
    public var run: [(name: String, value: String)]

    public init(path: String? = nil, run: [(name: String, value: String)] = []) {
      self.path = path
      self.run = run
    }
  }

  /// Measures what the results file does not hold yet.
  ///
  /// - Parameters:
  ///   - units: what is measured, in order.
  ///   - name: tells one unit from another, in the results too.
  ///   - prepare: makes a unit ready, once for all methods that lack a result. What it reads counts as
  ///     the first method's reading.
  ///   - measure: one result. `first` is the unit's result with the first method, once there is one.
  /// - Returns: the results, unit by unit, methods in their order.
  /// - Throws: ``RunError``, ``TaskError``, and what `prepare` and `measure` throw.
  package static func run<Unit, Prepared, Line: RunLine>(
    _ units: [Unit], methods: [String], results: Results, name: (Unit) -> String,
    progress: @escaping @Sendable (Progress) -> Void,
    prepare: (_ unit: Unit, _ reading: @escaping ReadingProgress) async throws -> Prepared,
    measure: (
      _ prepared: Prepared, _ method: String, _ first: Line?, _ reading: @escaping ReadingProgress
    ) async throws -> Line
  ) async throws -> [Line] {
    var log = try RunLog<Line>(path: results.path, run: results.run)
    let total = units.count * methods.count
    var done = 0
    for unit in units {
      let task = name(unit)
      let missing = methods.filter { log[task, $0] == nil }
      done += methods.count - missing.count
      guard !missing.isEmpty else { continue }
      func reading(_ method: String) -> ReadingProgress {
        let finished = done
        return { fraction, tokens in
          progress(
            Progress(
              task: task, method: method, done: finished, total: total, fraction: fraction,
              tokens: tokens))
        }
      }
      let prepared = try await prepare(unit, reading(methods.first ?? ""))
      for method in missing {
        let first = methods.first.flatMap { log[task, $0] }
        try log.append(await measure(prepared, method, first, reading(method)))
        done += 1
      }
    }
    return units.flatMap { unit in methods.compactMap { log[name(unit), $0] } }
  }

  /// Measures every window of a text with every method.
  ///
  /// - Parameters:
  ///   - ids: the text's tokens.
  ///   - name: of a window of a length.
  /// - Throws: as ``run(_:methods:results:name:progress:prepare:measure:)``, and
  ///   ``RunError/textTooShort(tokens:wanted:)``.
  package static func run<Line: RunLine>(
    _ windows: TextWindows, of ids: [Int32], methods: [String], results: Results,
    name: (_ length: Int, _ window: Int) -> String,
    progress: @escaping @Sendable (Progress) -> Void,
    measure: (
      _ window: TextWindows.Window, _ tokens: [Int32], _ method: String,
      _ reading: @escaping ReadingProgress
    ) async throws -> Line
  ) async throws -> [Line] {
    try await run(
      windows.all(tokens: ids.count), methods: methods, results: results,
      name: { name($0.length, $0.number) }, progress: progress, prepare: { window, _ in window }
    ) { (window, method, _: Line?, reading) in
      try await measure(window, Array(ids[window.range]), method, reading)
    }
  }

  /// Puts tasks to every method.
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
    try await Self.run(
      plans, methods: runner.methods, results: Results(path: results, run: run), name: \.id,
      progress: progress, prepare: { plan, _ in try plan.task { try runner.countTokens($0) } }
    ) { (task, method, first: RunRecord?, reading) in
      let answer = try await runner.answer(task, method: method, progress: reading)
      return RunRecord(
        task.compared(with: first?.answer.text ?? answer.text), method: method, answer: answer)
    }
  }
}
