package import JSON
public import MInference
import TextReports

/// Agreement of several methods with dense attention, by kind of sample, length and position.
public struct AgreementSummary: Sendable {
  /// Samples that are averaged: of one kind and, but for a few tokens, one length.
  public struct Group: Sendable, Hashable {
    public var kind: AgreementSample.Kind
    /// As it was asked for; a retrieval prompt may be a little shorter.
    public var length: Int
  }

  /// The figures of a method in a group.
  public struct Figures: Sendable {
    /// Mean divergence in nats, share of positions with the same most likely token, and perplexity over
    /// dense attention's, with 95 % bootstrap intervals over blocks of positions.
    public var divergence: Bootstrap.Estimate
    public var same: Bootstrap.Estimate
    public var perplexityRatio: Bootstrap.Estimate
    public var sums: AgreementSums
    public var density: Double
    /// The fastest of the group's prefills; and, of all, the least time of indices and kernel.
    public var seconds: Double
    public var attentionSeconds: Double
  }

  /// Parts of a text that are shown apart.
  static let parts = 8

  public let methods: [String]
  public let groups: [Group]
  private let records: [AgreementRun.Record]
  private let lengths: [String: Int]

  /// - Parameters:
  ///   - methods: The reference first.
  ///   - lengths: The lengths that were asked for, by the sample's name.
  public init(_ records: [AgreementRun.Record], methods: [String], lengths: [String: Int]) {
    self.records = records
    self.methods = methods
    self.lengths = lengths
    let found = Set(
      records.map { Group(kind: $0.kind, length: lengths[$0.sample] ?? $0.tokens) })
    groups = found.sorted {
      ($0.kind == .text ? 0 : 1, $0.length) < ($1.kind == .text ? 0 : 1, $1.length)
    }
  }

  private func records(_ group: Group, _ method: String) -> [AgreementRun.Record] {
    records.filter {
      $0.kind == group.kind && (lengths[$0.sample] ?? $0.tokens) == group.length
        && $0.method == method
    }
  }

  public func figures(_ group: Group, _ method: String) -> Figures {
    let own = records(group, method)
    let blocks = own.flatMap(\.blocks).map(\.sums)
    func estimate(_ statistic: (AgreementSums) -> Double) -> Bootstrap.Estimate {
      Bootstrap.estimate(of: blocks.count, seed: 1) { indices in
        statistic(indices.reduce(into: AgreementSums()) { $0 += blocks[$1] })
      }
    }
    return Figures(
      divergence: estimate(\.meanDivergence), same: estimate(\.sameShare),
      perplexityRatio: estimate(\.perplexityRatio),
      sums: blocks.reduce(into: AgreementSums()) { $0 += $1 },
      density: Bootstrap.average(own.map(\.density)),
      seconds: own.map(\.seconds).min() ?? .nan,
      attentionSeconds: own.map(\.attentionSeconds).min() ?? .nan)
  }

  /// The sums of each of ``parts`` parts of a group's positions, and the positions where each begins
  /// and ends; empty parts are left out.
  func byPosition(
    _ group: Group, _ method: String
  ) -> [(first: Int, last: Int, sums: AgreementSums)] {
    let own = records(group, method)
    return (0..<Self.parts).compactMap { part in
      var found: (first: Int, last: Int, sums: AgreementSums)?
      for record in own {
        let count = record.blocks.count
        let range = part * count / Self.parts..<(part + 1) * count / Self.parts
        for block in record.blocks[range] {
          let before = found ?? (block.first, block.last, AgreementSums())
          var sums = before.sums
          sums += block.sums
          found = (min(before.first, block.first), max(before.last, block.last), sums)
        }
      }
      return found
    }
  }
}

// MARK: Tables

extension AgreementSummary {
  /// A table for each group and, for texts, one by position.
  public var markdown: String {
    groups.map { $0.kind == .text ? textTable($0) + positionTable($0) : retrievalTable($0) }
      .joined(separator: "\n")
  }

  private func textTable(_ group: Group) -> String {
    let count = records(group, methods.first ?? "").count
    let positions = figures(group, methods.first ?? "").sums.positions
    var table = MarkdownTable(
      header: [
        "attention", "density", "KL", "same argmax", "perplexity ratio", "attention s", "prefill s",
      ])
    for method in methods {
      let figures = figures(group, method)
      table.append([
        method, Quantity.percent(figures.density),
        RunSummary.interval(figures.divergence, digits: 4),
        RunSummary.interval(figures.same, digits: 3),
        RunSummary.interval(figures.perplexityRatio, digits: 4),
        Quantity.fixed(figures.attentionSeconds, 3), Quantity.fixed(figures.seconds, 3),
      ])
    }
    return "Texts of \(Quantity.grouped(group.length)) tokens: \(count), with "
      + "\(Quantity.grouped(positions)) sampled positions in all (95 % bootstrap intervals over blocks "
      + "of them; seconds of the fastest)\n\n" + table.text
  }

  private func positionTable(_ group: Group) -> String {
    let methods = methods.dropFirst()
    let parts = methods.map { byPosition(group, $0) }
    guard let first = parts.first, first.count > 1 else { return "" }
    var table = MarkdownTable(header: ["positions"] + methods)
    for part in first.indices {
      table.append(
        ["\(Quantity.grouped(first[part].first)) to \(Quantity.grouped(first[part].last))"]
          + parts.map { found in
            guard part < found.count else { return "" }
            let sums = found[part].sums
            return "\(Quantity.fixed(sums.meanDivergence, 4)) / "
              + "\(Quantity.fixed(sums.sameShare, 3)) / "
              + Quantity.fixed(sums.perplexityRatio, 4)
          })
    }
    return "\nBy position: KL / same argmax / perplexity ratio\n\n" + table.text
  }

  private func retrievalTable(_ group: Group) -> String {
    let count = records(group, methods.first ?? "").count
    var table = MarkdownTable(
      header: [
        "attention", "density", "answer tokens right", "KL", "same argmax", "attention s",
        "prefill s",
      ])
    for method in methods {
      let figures = figures(group, method)
      table.append([
        method, Quantity.percent(figures.density),
        "\(figures.sums.right) of \(figures.sums.scored)",
        RunSummary.interval(figures.divergence, digits: 4),
        RunSummary.interval(figures.same, digits: 3),
        Quantity.fixed(figures.attentionSeconds, 3), Quantity.fixed(figures.seconds, 3),
      ])
    }
    return "Retrieval prompts of \(Quantity.grouped(group.length)) tokens: \(count), with "
      + "\(RetrievalPrompt.questions) questions for \(RetrievalPrompt.facts) facts each, compared at "
      + "the tokens of the answers, which are given\n\n" + table.text
  }

  /// The summary as one JSON object.
  package var json: JSONValue {
    .object([
      (
        "groups",
        .array(
          groups.map { group in
            .object([
              ("kind", .string(group.kind.rawValue)), ("tokens", .integer(group.length)),
              ("samples", .integer(records(group, methods.first ?? "").count)),
              ("methods", .object(methods.map { ($0, json(group, $0)) })),
            ])
          })
      )
    ])
  }

  private func json(_ group: Group, _ method: String) -> JSONValue {
    let figures = figures(group, method)
    return .object([
      ("positions", .integer(figures.sums.positions)),
      ("kl", RunSummary.json(figures.divergence)),
      ("same_argmax", RunSummary.json(figures.same)),
      ("perplexity_ratio", RunSummary.json(figures.perplexityRatio)),
      ("tokens_right", .integer(figures.sums.right)),
      ("tokens_right_dense", .integer(figures.sums.referenceRight)),
      ("tokens_scored", .integer(figures.sums.scored)), ("density", .number(figures.density)),
      ("prefill_s", .number(figures.seconds)),
      ("attention_s", .number(figures.attentionSeconds)),
      (
        "by_position",
        .array(
          byPosition(group, method).map { part in
            .object([
              ("first", .integer(part.first)), ("last", .integer(part.last)),
              ("positions", .integer(part.sums.positions)),
              ("kl", .number(part.sums.meanDivergence)),
              ("same_argmax", .number(part.sums.sameShare)),
              ("perplexity_ratio", .number(part.sums.perplexityRatio)),
            ])
          })
      ),
    ])
  }
}
