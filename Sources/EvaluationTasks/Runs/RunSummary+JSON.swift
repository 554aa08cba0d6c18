package import JSON

extension RunSummary {
  /// The summary as one JSON object.
  package var json: JSONValue {
    .object([
      (
        "groups",
        .array(
          groups.map { group in
            .object([
              ("kind", .string(group.kind)),
              ("length", group.length.map { .integer($0) } ?? .null),
              ("prompts", .integer(records(group, methods.first ?? "").count)),
              ("methods", .object(methods.map { ($0, json(group, $0)) })),
            ])
          })
      )
    ])
  }

  private func json(_ group: Group, _ method: String) -> JSONValue {
    let records = records(group, method)
    let times = records.map(\.answer.timeToFirstToken).sorted()
    return .object([
      ("score", Self.json(score(group, method))),
      ("difference", Self.json(difference(group, method))),
      ("median_time_to_first_token_s", times.isEmpty ? .null : .number(times[times.count / 2])),
      ("density", .number(Bootstrap.average(records.map(\.answer.density)))),
      ("recall", .number(Bootstrap.average(records.compactMap(\.answer.recall)))),
      ("worst_recall", records.compactMap(\.answer.worstRecall).min().map { .number($0) } ?? .null),
    ])
  }

  static func json(_ estimate: Bootstrap.Estimate) -> JSONValue {
    .object([
      ("mean", .number(estimate.mean)), ("low", .number(estimate.low)),
      ("high", .number(estimate.high)),
    ])
  }
}

extension PerplexitySummary {
  /// The summary as one JSON object.
  package var json: JSONValue {
    .object([
      (
        "lengths",
        .array(
          lengths.map { length in
            .object([
              ("tokens", .integer(length)),
              (
                "methods",
                .object(
                  methods.map { method in
                    (
                      method,
                      .object([
                        ("perplexity", RunSummary.json(perplexity(length, method))),
                        ("ratio", RunSummary.json(ratio(length, method))),
                      ])
                    )
                  })
              ),
            ])
          })
      )
    ])
  }
}
