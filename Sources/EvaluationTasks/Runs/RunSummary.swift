import TextReports

/// What a run found: scores by kind and length, side by side, with intervals.
public struct RunSummary: Sendable {
  /// One kind and length, or all kinds of a length.
  public struct Group: Sendable, Hashable {
    public var kind: String
    public var length: Int?
  }

  public let groups: [Group]
  public let methods: [String]
  /// The scores of a group and method, prompt by prompt; prompts in the same order for all methods.
  private let records: [Group: [String: [RunRecord]]]

  /// Summarises the prompts that every method has answered.
  ///
  /// - Parameter averages: whether several kinds get an average.
  public init(_ records: [RunRecord], methods: [String], averages: Bool = true) {
    self.methods = methods
    let byTask = Dictionary(grouping: records, by: \.task)
    let complete = records.filter { record in
      Set(byTask[record.task, default: []].map(\.method)).isSuperset(of: methods)
    }
    var groups: [Group] = []
    var collected: [Group: [String: [RunRecord]]] = [:]
    for record in complete {
      let group = Group(kind: record.kind, length: record.length)
      if collected[group] == nil { groups.append(group) }
      collected[group, default: [:]][record.method, default: []].append(record)
    }
    let kinds = Set(groups.map(\.kind))
    if kinds.count > 1, averages {
      // The average over kinds, which RULER is quoted by; kinds have the same number of prompts.
      var lengths: [Int?] = []
      for group in groups where !lengths.contains(group.length) { lengths.append(group.length) }
      for length in lengths {
        let all = Group(kind: "average", length: length)
        for group in groups where group.length == length {
          for (method, records) in collected[group, default: [:]] {
            collected[all, default: [:]][method, default: []] += records
          }
        }
        groups.append(all)
      }
    }
    self.groups = groups
    self.records = collected
  }

  /// Results of one group and method.
  public func records(_ group: Group, _ method: String) -> [RunRecord] {
    records[group]?[method] ?? []
  }

  /// The mean score with its interval.
  public func score(_ group: Group, _ method: String) -> Bootstrap.Estimate {
    Bootstrap.mean(records(group, method).map(\.score))
  }

  /// The mean of the differences to the first method, prompt by prompt.
  public func difference(_ group: Group, _ method: String) -> Bootstrap.Estimate {
    Bootstrap.difference(
      records(group, methods.first ?? method).map(\.score), records(group, method).map(\.score))
  }

  /// Tables of scores, differences and costs.
  public var markdown: String {
    var text =
      "Score (mean and 95 % bootstrap interval)\n\n"
      + table { group, method in
        Self.interval(score(group, method), digits: 3)
      }
    if let first = methods.first, methods.count > 1 {
      text += "\nDifference to \(first), prompt by prompt (* where the interval leaves out 0)\n\n"
      text += table(methods.dropFirst()) { group, method in
        let estimate = difference(group, method)
        return Self.interval(estimate, digits: 3, signed: true)
          + (estimate.contains(0) || estimate.mean.isNaN ? "" : " *")
      }
    }
    text += "\nMedian time to first token in seconds, mean density\n\n"
    text += table { group, method in
      let records = records(group, method)
      let times = records.map(\.answer.timeToFirstToken).sorted()
      let density = Bootstrap.average(records.map(\.answer.density))
      guard !times.isEmpty else { return "" }
      return "\(Quantity.fixed(times[times.count / 2], 2)) (\(Quantity.percent(density)))"
    }
    if records.values.joined().flatMap(\.value).contains(where: { $0.answer.recall != nil }) {
      text += "\nRecall: mean over heads and prompts, worst head of any prompt\n\n"
      text += table { group, method in
        let records = records(group, method)
        let means = records.compactMap(\.answer.recall)
        guard let worst = records.compactMap(\.answer.worstRecall).min() else { return "" }
        return "\(Quantity.fixed(Bootstrap.average(means), 3)) (\(Quantity.fixed(worst, 3)))"
      }
    }
    return text
  }

  private func table(
    _ columns: ArraySlice<String>, cell: (Group, String) -> String
  ) -> String {
    var table = MarkdownTable(header: ["kind", "length", "prompts"] + columns)
    for group in groups {
      table.append(
        [
          group.kind, group.length.map { Quantity.grouped($0) } ?? "",
          "\(records(group, methods.first ?? "").count)",
        ] + columns.map { cell(group, $0) })
    }
    return table.text
  }

  private func table(cell: (Group, String) -> String) -> String {
    table(methods[...], cell: cell)
  }

  static func interval(
    _ estimate: Bootstrap.Estimate, digits: Int, signed: Bool = false
  ) -> String {
    func number(_ value: Double) -> String {
      let text = Quantity.fixed(value, digits)
      return signed && value > 0 && text.contains { ("1"..."9").contains($0) } ? "+" + text : text
    }
    return "\(number(estimate.mean)) [\(number(estimate.low)), \(number(estimate.high))]"
  }
}
