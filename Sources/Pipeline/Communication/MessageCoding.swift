import Compute
import JSON
import SparseAttention
import Transformers

// What requests look like in messages.

extension KeyValueOptions {
  var fields: [(String, JSONValue)] {
    var fields: [(String, JSONValue)] = []
    if let type { fields.append(("type", .string(type.rawValue))) }
    if let place { fields.append(("place", .string(place.rawValue))) }
    return fields
  }

  /// nil where a message says nothing of them.
  init?(fields message: Message) {
    self.init(
      type: message["type"]?.text.flatMap { DataType(rawValue: $0) },
      place: message["place"]?.text.flatMap { Place(rawValue: $0) })
    guard type != nil || place != nil else { return nil }
  }
}

extension AttentionPlanner {
  var fields: [(String, JSONValue)] {
    [
      ("patterns", .string(configuration.text)), ("exact", .boolean(exact)),
      ("free_bands", .boolean(freeBands)), ("scales_budgets", .boolean(scalesBudgets)),
      (
        "costs",
        .array([
          .integer(costModel.denseBelow), .number(costModel.tilePair),
          .number(costModel.columnPair), .number(costModel.run),
        ])
      ),
    ]
  }

  /// nil where a message has none.
  ///
  /// - Throws: `PatternError`; ``PipelineError/malformedMessage(detail:)``.
  init?(fields message: Message) throws {
    guard let text = message["patterns"]?.text else { return nil }
    guard let costs = message["costs"]?.elements?.compactMap(\.double), costs.count == 4,
      let json = try? JSONValue(parsing: Array(text.utf8))
    else { throw PipelineError.malformedMessage(detail: "a planner without costs") }
    self.init(
      configuration: try PatternConfiguration(versioned: json, file: "a message"),
      exact: message.flag("exact"),
      costModel: SparseCostModel(
        denseBelow: Int(costs[0]), tilePair: costs[1], columnPair: costs[2], run: costs[3]))
    freeBands = message.flag("free_bands")
    scalesBudgets = message.flag("scales_budgets")
  }
}

extension CacheRequest {
  var fields: [(String, JSONValue)] {
    var fields = keyValues.fields + (planner?.fields ?? [])
    fields.append(("capacity", .integer(capacity)))
    fields.append(("chunk", .integer(chunk)))
    if let sequenceLength { fields.append(("sequence_length", .integer(sequenceLength))) }
    return fields
  }

  init(_ message: Message) throws {
    self.init(
      capacity: try message.int("capacity"),
      keyValues: KeyValueOptions(fields: message) ?? KeyValueOptions(),
      sequenceLength: message["sequence_length"]?.int, chunk: try message.int("chunk"),
      planner: try AttentionPlanner(fields: message))
  }
}

extension ReadingRequest {
  var fields: [(String, JSONValue)] {
    var fields = options.planner?.fields ?? []
    fields.append(("rows", .integer(ids.count)))
    fields.append(("ends", .array((options.chunkEnds ?? []).map { .integer($0) })))
    if let rowBlock = options.rowBlock { fields.append(("row_block", .integer(rowBlock))) }
    fields.append(("budgets", .string((options.chunkBudgets ?? .whole).rawValue)))
    fields.append(("last_row_only", .boolean(options.lastLayerLastRowOnly)))
    fields.append(("all_rows", .boolean(wantsAllRows)))
    fields.append(("linear", .boolean(options.measuresLinearLayers)))
    fields.append(("recall", .boolean(options.measureRecall)))
    if let monitor = options.monitor {
      fields.append(("monitor_floor", .number(monitor.floor)))
      fields.append(("monitor_dense", .boolean(monitor.computesWeakHeadsDensely)))
    }
    if let recipe = options.injectionRecipe { fields.append(("injection", .string(recipe))) }
    return fields
  }
}

extension PrefillOptions {
  init(_ message: Message) throws {
    self.init(
      planner: try AttentionPlanner(fields: message), rowBlock: message["row_block"]?.int,
      lastLayerLastRowOnly: message.flag("last_row_only"))
    chunkEnds = message["ends"]?.elements?.compactMap(\.int) ?? []
    chunkBudgets = message["budgets"]?.text.flatMap(ChunkBudgets.init)
    measuresLinearLayers = message.flag("linear")
    measureRecall = message.flag("recall")
    monitor = RecallMonitor(message)
    injectionRecipe = message["injection"]?.text
  }
}

extension RecallMonitor {
  /// nil where a message has none.
  fileprivate init?(_ message: Message) {
    guard let floor = message["monitor_floor"]?.double else { return nil }
    self.init(floor: floor, computesWeakHeadsDensely: message.flag("monitor_dense"))
  }
}

extension HeadRecall {
  fileprivate var json: JSONValue {
    .array([.number(mean), .number(tenthPercentile), .integer(rows)])
  }

  /// nil for anything else.
  fileprivate init?(_ json: JSONValue?) {
    guard let fields = json?.elements, fields.count == 3, let mean = fields[0].double,
      let tenth = fields[1].double, let rows = fields[2].int
    else { return nil }
    self.init(mean: mean, tenthPercentile: tenth, rows: rows)
  }

  /// [layer][head] of a stage's layers.
  fileprivate static func table(_ recalls: [[HeadRecall?]], layers: Range<Int>) -> JSONValue {
    .array(recalls[layers].map { .array($0.map { $0?.json ?? .null }) })
  }

  /// The same among those of all layers; nil where there is none.
  fileprivate static func table(
    _ json: JSONValue?, layers: Range<Int>, of report: PrefillReport
  ) -> [[HeadRecall?]]? {
    guard let rows = json?.elements, rows.count == layers.count else { return nil }
    var table = report.computedPairs.map { $0.map { _ in HeadRecall?.none } }
    for (layer, row) in zip(layers, rows) {
      for (head, recall) in (row.elements ?? []).enumerated()
      where table[layer].indices.contains(head) { table[layer][head] = HeadRecall(recall) }
    }
    return table
  }
}

extension MonitorReport {
  fileprivate func fields(layers: Range<Int>) -> [(String, JSONValue)] {
    [
      ("monitor_floor", .number(monitor.floor)),
      ("monitor_dense", .boolean(monitor.computesWeakHeadsDensely)),
      ("monitor_s", .number(seconds)),
      (
        "monitor_recalls",
        headRecalls.isEmpty ? .null : HeadRecall.table(headRecalls, layers: layers)
      ),
      (
        "weak",
        .array(
          weakHeads.map {
            .array([
              .integer($0.layer), .integer($0.head), .integer($0.firstPosition), $0.recall.json,
              .boolean($0.isComputedDensely),
            ])
          })
      ), ("extra_pairs", .integer(extraPairs)), ("extra_s", .number(extraSeconds)),
    ]
  }

  /// nil where a message has none.
  fileprivate init?(_ message: Message, layers: Range<Int>, of report: PrefillReport) {
    guard let monitor = RecallMonitor(message) else { return nil }
    let weak = (message["weak"]?.elements ?? []).compactMap { entry -> WeakHead? in
      guard let fields = entry.elements, fields.count == 5, let layer = fields[0].int,
        let head = fields[1].int, let first = fields[2].int, let recall = HeadRecall(fields[3])
      else { return nil }
      return WeakHead(
        layer: layer, head: head, firstPosition: first, recall: recall,
        isComputedDensely: fields[4] == .boolean(true))
    }
    self.init(
      monitor, seconds: message["monitor_s"]?.double ?? 0,
      headRecalls: HeadRecall.table(message["monitor_recalls"], layers: layers, of: report) ?? [],
      weakHeads: weak, extraPairs: message["extra_pairs"]?.int ?? 0,
      extraSeconds: message["extra_s"]?.double ?? 0)
  }
}

extension PrefillReport {
  /// What a stage of these layers says.
  func fields(layers: Range<Int>) -> [(String, JSONValue)] {
    func table(_ pairs: [[Int]]) -> JSONValue {
      .array(pairs[layers].map { .array($0.map { .integer($0) }) })
    }
    var fields: [(String, JSONValue)] = [
      ("tokens", .integer(tokens)), ("reused", .integer(reusedTokens)),
      ("chunks", .integer(chunks)), ("index_s", .number(indexSeconds)),
      ("kernel_s", .number(kernelSeconds)), ("computed", table(computedPairs)),
      ("causal", table(causalPairs)),
      (
        "fallbacks",
        .array(
          denseFallbacks.map {
            .array([
              .integer($0.layer), .integer($0.head), .integer($0.firstPosition),
              .string($0.reason),
            ])
          })
      ),
    ]
    if let linearSeconds { fields.append(("linear_s", .number(linearSeconds))) }
    if let headRecalls {
      fields.append(("recalls", HeadRecall.table(headRecalls, layers: layers)))
    }
    return fields + (monitor?.fields(layers: layers) ?? [])
  }

  mutating func fill(from message: Message, layers: Range<Int>) throws {
    func table(_ name: String) throws -> [[Int]] {
      let rows = message[name]?.elements?.map { $0.elements?.compactMap(\.int) ?? [] } ?? []
      guard rows.count == layers.count, rows.allSatisfy({ $0.count == computedPairs[0].count })
      else { throw PipelineError.malformedMessage(detail: "a report without \(name) pairs") }
      return rows
    }
    tokens = try message.int("tokens")
    reusedTokens = try message.int("reused")
    chunks = try message.int("chunks")
    indexSeconds = message["index_s"]?.double ?? 0
    kernelSeconds = message["kernel_s"]?.double ?? 0
    linearSeconds = message["linear_s"]?.double
    computedPairs.replaceSubrange(layers, with: try table("computed"))
    causalPairs.replaceSubrange(layers, with: try table("causal"))
    headRecalls = HeadRecall.table(message["recalls"], layers: layers, of: self)
    monitor = MonitorReport(message, layers: layers, of: self)
    denseFallbacks = (message["fallbacks"]?.elements ?? []).compactMap { entry in
      guard let fields = entry.elements, fields.count == 4, let layer = fields[0].int,
        let head = fields[1].int, let first = fields[2].int, let reason = fields[3].text
      else { return nil }
      return DenseFallback(layer: layer, head: head, firstPosition: first, reason: reason)
    }
  }
}
