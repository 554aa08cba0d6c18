package import JSON
import MInference
import TextReports

/// What scenarios gave: one row a scenario and length, methods side by side.
public struct ScenarioSummary: Sendable {
  private let summary: RunSummary

  /// Summarises the prompts that every method has answered.
  public init(_ records: [RunRecord], methods: [String]) {
    summary = RunSummary(records, methods: methods, averages: false)
  }

  /// One for each scenario and length.
  public var groups: [RunSummary.Group] { summary.groups }
  private var first: String { summary.methods.first ?? "" }

  /// The mean score with its interval: Wilson's for answers that are right or wrong.
  public func score(_ group: RunSummary.Group, _ method: String) -> Bootstrap.Estimate {
    Proportion.interval(of: summary.records(group, method).map(\.score))
  }

  /// Whether a method's mean score is at least the low end of the first method's interval.
  public func isWithin(_ group: RunSummary.Group, _ method: String) -> Bool {
    score(group, method).mean >= score(group, first).low
  }

  /// The table of scores and times, and where summaries part.
  public var markdown: String {
    var table = MarkdownTable(
      header: ["scenario", "tokens", "prompts", first]
        + summary.methods.dropFirst().flatMap { [$0, "difference", "holds"] }
        + summary.methods.map { "\($0) s (density)" })
    for group in groups {
      table.append(
        [
          group.kind, group.length.map { Quantity.grouped($0) } ?? "",
          "\(summary.records(group, first).count)",
          isReference(group) ? "1 (itself)" : RunSummary.interval(score(group, first), digits: 2),
        ] + summary.methods.dropFirst().flatMap { comparison(group, $0) }
          + summary.methods.map { cost(group, $0) })
    }
    return "Scores with 95 % intervals (Wilson's where answers are right or wrong, else a "
      + "bootstrap's); differences to \(first), prompt by prompt; a method holds where its score is "
      + "within or above \(first)'s interval (summaries: no such test); median seconds to the first "
      + "token\n\n" + table.text + parting
  }

  /// Summaries are scored by the first method's: it is not compared with itself.
  private func isReference(_ group: RunSummary.Group) -> Bool {
    group.kind == Scenario.summaries.rawValue
  }

  private func comparison(_ group: RunSummary.Group, _ method: String) -> [String] {
    let score = RunSummary.interval(score(group, method), digits: 2)
    guard !isReference(group) else { return [score, "", ""] }
    return [
      score, RunSummary.interval(summary.difference(group, method), digits: 2, signed: true),
      isWithin(group, method) ? "yes" : "no",
    ]
  }

  private func cost(_ group: RunSummary.Group, _ method: String) -> String {
    let answers = summary.records(group, method).map(\.answer)
    let times = answers.map(\.timeToFirstToken).sorted()
    guard !times.isEmpty else { return "" }
    return "\(Quantity.fixed(times[times.count / 2], 2)) "
      + "(\(Quantity.percent(Bootstrap.average(answers.map(\.density)))))"
  }

  /// How many words summaries have in common before they part from the first method's.
  private var parting: String {
    let rows = groups.filter(isReference)
    guard !rows.isEmpty, summary.methods.count > 1 else { return "" }
    var table = MarkdownTable(header: ["tokens", "summaries"] + summary.methods.dropFirst())
    for group in rows {
      table.append(
        [
          group.length.map { Quantity.grouped($0) } ?? "",
          "\(summary.records(group, first).count)",
        ]
          + summary.methods.dropFirst().map { method in
            let common = commonWords(group, method)
            let same = common.count { $0.common == $0.words }
            let words = common.map(\.common).sorted()
            return words.isEmpty
              ? "" : "\(words[words.count / 2]) (\(same) of \(words.count) the same)"
          })
    }
    return "\nSummaries: words before they part from \(first)'s, median (and how many never do)\n\n"
      + table.text
  }

  /// Of each summary the words it has in common with the first method's from the beginning, and the
  /// words of the longer of the two.
  package func commonWords(_ group: RunSummary.Group, _ method: String) -> [(
    common: Int, words: Int
  )] {
    zip(summary.records(group, first), summary.records(group, method)).map { first, other in
      let one = PythonText.words(first.answer.text)
      let two = PythonText.words(other.answer.text)
      return (zip(one, two).prefix { $0 == $1 }.count, max(one.count, two.count))
    }
  }

  /// The summary as one JSON object.
  package var json: JSONValue {
    .object([("scenarios", .array(groups.map(json)))])
  }

  private func json(_ group: RunSummary.Group) -> JSONValue {
    .object([
      ("scenario", .string(group.kind)), ("tokens", group.length.map { .integer($0) } ?? .null),
      ("prompts", .integer(summary.records(group, first).count)),
      ("methods", .object(summary.methods.map { ($0, json(group, $0)) })),
    ])
  }

  private func json(_ group: RunSummary.Group, _ method: String) -> JSONValue {
    let answers = summary.records(group, method).map(\.answer)
    let times = answers.map(\.timeToFirstToken).sorted()
    var fields: [(String, JSONValue)] = [
      ("score", RunSummary.json(score(group, method))),
      ("difference", RunSummary.json(summary.difference(group, method))),
      ("holds", .boolean(isWithin(group, method))),
      ("median_time_to_first_token_s", times.isEmpty ? .null : .number(times[times.count / 2])),
      ("density", .number(Bootstrap.average(answers.map(\.density)))),
    ]
    if isReference(group) {
      fields.append(
        ("common_words", .array(commonWords(group, method).map { .integer($0.common) })))
    }
    return .object(fields)
  }
}
