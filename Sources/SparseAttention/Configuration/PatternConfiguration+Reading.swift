import Files
package import JSON

extension PatternConfiguration {
  /// Layers times heads that a file may describe: sixteen times those of the largest models.
  static let mostHeads = 1 << 18
  /// Bytes of a file: some 250 for each of ``mostHeads``.
  static let mostBytes = 1 << 26

  /// Reads a pattern file of either layout.
  ///
  /// - Upstream's: a list of layers, each an object from head number to
  ///   `[pattern, a, b, score]`, where pattern is `vertical_and_slash` (a columns, b offsets),
  ///   `stream_llm` (a first keys, b nearest) or `block_sparse` (top 100 blocks, whatever a and b
  ///   say, as upstream runs it). A head that is missing is vertical-slash (1000, 6096).
  /// - Our own: see ``write(toFile:)``. An entry is an object with `pattern` and its budgets, or
  ///   `"dense"` alone.
  ///
  /// JSON5's comments and trailing commas are read, for such files are edited by hand; of keys that
  /// stand twice in an object the last counts.
  ///
  /// - Throws: ``PatternError`` that names the file, and the layer and head where there is one.
  public init(contentsOfFile file: String) throws {
    let json = try Self.json(ofFile: file)
    switch json {
    case .array(let layers): try self.init(upstream: layers, file: file)
    case .object: try self.init(versioned: json, file: file)
    default:
      throw PatternError.malformed(
        file: file, detail: "it holds \(json.kind), not a list or an object")
    }
  }

  private static func json(ofFile file: String) throws -> JSONValue {
    let bytes: [UInt8]
    do {
      bytes = try WholeFile.bytes(of: file, limit: mostBytes)
    } catch {
      throw PatternError.unreadable(file: file, reason: error.reason)
    }
    do {
      return try JSONValue(parsing: bytes, policy: .json5)
    } catch {
      throw PatternError.malformed(
        file: file,
        detail:
          "no valid JSON at byte \(error.offset) of \(bytes.count): \(error.problem); make it "
          + "with `search`")
    }
  }

  private init(upstream layers: [JSONValue], file: String) throws {
    guard !layers.isEmpty else {
      throw PatternError.malformed(file: file, detail: "it lists no layers")
    }
    try Self.checkSize(of: layers, file: file)
    var listed: [[Int: (HeadPattern, HeadMeasurement?)]] = []
    for (layer, value) in layers.enumerated() {
      guard case .object(let entries) = value else {
        throw PatternError.malformed(
          file: file, detail: "layer \(layer) is \(value.kind), not an object of heads")
      }
      var heads: [Int: (HeadPattern, HeadMeasurement?)] = [:]
      // In order, so that of several mistakes the first is named.
      let ordered = entries.sorted {
        ($0.key.utf8.count, ByteString($0.key)) < ($1.key.utf8.count, ByteString($1.key))
      }
      for entry in ordered {
        let at = Entry(file: file, layer: layer, head: printable(entry.key, limit: 32))
        guard let head = Self.head(named: entry.key) else {
          throw at.error("the head is no number from 0; name it by its number")
        }
        heads[head] = try at.upstreamPattern(entry.value)
      }
      listed.append(heads)
    }
    let count = listed.reduce(0) { max($0, ($1.keys.max() ?? -1) + 1) }
    self.init(
      patterns: listed.map { layer in (0..<count).map { layer[$0]?.0 ?? .unlisted } },
      measurements: listed.map { layer in (0..<count).map { layer[$0]?.1 } },
      metadata: PatternMetadata(), source: file,
      headsAreComplete: listed.allSatisfy { $0.count == count })
  }

  private static func head(named name: String) -> Int? {
    guard name.utf8.count <= 5, let head = Int(name), (0..<65_536).contains(head) else {
      return nil
    }
    return head
  }

  /// Refuses a file whose layers, filled up to the largest head, would be more than ``mostHeads``.
  /// Every layer has as many entries as the largest head asks for, so that few bytes can ask for much.
  private static func checkSize(of layers: [JSONValue], file: String) throws {
    var largest = (layer: 0, head: 0)
    for (layer, value) in layers.enumerated() {
      guard case .object(let entries) = value else { continue }
      for entry in entries {
        if let head = head(named: entry.key), head > largest.head { largest = (layer, head) }
      }
    }
    let (product, overflows) = layers.count.multipliedReportingOverflow(by: largest.head + 1)
    guard !overflows, product <= mostHeads else {
      throw PatternError.malformed(
        file: file,
        detail: "it lists \(layers.count) layers and head \(largest.head) in layer "
          + "\(largest.layer), together more than \(mostHeads) heads; give the file of a model")
    }
  }

  package init(versioned json: JSONValue, file: String) throws {
    guard json["format"]?.text == Self.format else {
      throw PatternError.malformed(
        file: file, detail: "it has no \"format\": \"\(Self.format)\" and is no list of layers")
    }
    guard let version = json["version"]?.int, version == 1 else {
      throw PatternError.version(file: file, version: json["version"]?.kind ?? "none")
    }
    guard let layers = json["model"]?["layers"]?.int, layers > 0,
      let heads = json["model"]?["query_heads"]?.int, heads > 0
    else {
      throw PatternError.malformed(
        file: file, detail: "\"model\" lacks \"layers\" or \"query_heads\", numbers of at least 1")
    }
    guard case .array(let rows) = json["layers"] else {
      throw PatternError.malformed(file: file, detail: "it has no list \"layers\"")
    }
    guard rows.count == layers else {
      throw PatternError.malformed(
        file: file, detail: "its model has \(layers) layers, but \(rows.count) are listed")
    }
    var patterns: [[HeadPattern]] = []
    var measurements: [[HeadMeasurement?]] = []
    for (layer, row) in rows.enumerated() {
      guard case .array(let entries) = row, entries.count == heads else {
        throw PatternError.malformed(
          file: file, detail: "layer \(layer) is \(row.kind), not a list of \(heads) heads")
      }
      let read = try entries.enumerated().map { head, entry in
        try Entry(file: file, layer: layer, head: "\(head)").pattern(entry)
      }
      patterns.append(read.map(\.0))
      measurements.append(read.map(\.1))
    }
    var metadata = PatternMetadata(
      model: json["model"]?["name"]?.text, device: json["device"]?.text,
      tokens: json["tokens"]?.int, fingerprint: json["model"]?["fingerprint"]?.text,
      recall: Self.figures(json["recall"]), validation: Self.figures(json["validation"]),
      outputError: json["output_error"]?.double, costs: try Self.costs(json["costs"], file: file))
    metadata.search = SearchFigures(json["search"])
    if case .array(let lengths) = json["lengths"] {
      metadata.lengths = lengths.compactMap(\.int)
    }
    if case .array(let samples) = json["samples"] {
      metadata.samples = samples.compactMap(\.text)
    }
    self.init(
      patterns: patterns, measurements: measurements, metadata: metadata, source: file,
      headsAreComplete: true)
  }
}

extension PatternConfiguration {
  /// Costs that a planner can count with; nil if the file has none.
  private static func costs(_ json: JSONValue?, file: String) throws -> SparseCostModel? {
    guard let json, json != .null else { return nil }
    func cost(_ name: String) throws -> Double {
      guard let value = json[name]?.double, value.isFinite, value >= 0 else {
        throw PatternError.malformed(
          file: file,
          detail: "\"costs\" has \"\(name)\" \(json[name]?.kind ?? "missing"), not a number "
            + "from 0; search again or take \"costs\" out")
      }
      return value
    }
    let denseBelow = try cost("dense_below")
    guard denseBelow <= Double(Int32.max), try cost("tile_pair") > 0 else {
      throw PatternError.malformed(
        file: file,
        detail: "\"costs\" has a \"dense_below\" that is too large or a \"tile_pair\" of 0; "
          + "search again or take \"costs\" out")
    }
    return SparseCostModel(
      denseBelow: Int(denseBelow), tilePair: try cost("tile_pair"),
      columnPair: try cost("column_pair"), run: try cost("run"))
  }

  private static func figures(_ json: JSONValue?) -> RecallFigures? {
    guard let mean = json?["mean"]?.double, let worst = json?["worst"]?.double else { return nil }
    return RecallFigures(mean: mean, worst: worst)
  }
}

/// One entry of a pattern file, with where it stands.
private struct Entry {
  let file: String
  let layer: Int
  let head: String

  func error(_ detail: String) -> PatternError {
    .entry(file: file, layer: layer, head: head, detail: detail)
  }

  /// A budget: a whole number of at least 1.
  func budget(_ name: String, _ value: JSONValue?) throws -> Int {
    guard let value else { throw error("\(name) is missing; give a whole number of at least 1") }
    guard let number = value.int, (1...Int(Int32.max)).contains(number) else {
      throw error("\(name) is \(value.kind); give a whole number of at least 1")
    }
    return number
  }

  func upstreamPattern(_ entry: JSONValue) throws -> (HeadPattern, HeadMeasurement?) {
    guard case .array(let fields) = entry, fields.count >= 3, let name = fields[0].text else {
      throw error("is \(entry.kind); give [pattern, size, size, score]")
    }
    let score = fields.count > 3 ? fields[3].double : nil
    let measurement = score.map { HeadMeasurement(recall: $0) }
    switch name {
    case "vertical_and_slash":
      return (
        .verticalSlash(
          vertical: try budget("vertical size", fields[1]),
          slash: try budget("slash size", fields[2])), measurement
      )
    case "stream_llm":
      return (
        .aShape(
          sink: try budget("sink size", fields[1]), local: try budget("local size", fields[2])),
        measurement
      )
    case "block_sparse":
      return (.blockSparse(topK: 100), measurement)
    default:
      throw error(
        "pattern \(fields[0].kind) is unknown; known are vertical_and_slash, stream_llm and "
          + "block_sparse")
    }
  }

  func pattern(_ entry: JSONValue) throws -> (HeadPattern, HeadMeasurement?) {
    if entry == .null { return (.unlisted, nil) }
    guard let name = entry.text ?? entry["pattern"]?.text else {
      throw error("is \(entry.kind); give an object with a \"pattern\"")
    }
    guard name.utf8.count <= 64,
      let pattern = try HeadPattern(
        named: name,
        budget: { budget in
          guard let value = entry[budget.name] else {
            if budget.isRequired {
              throw error("\(budget.name) is missing; give \(budget.description)")
            }
            return nil
          }
          guard let number = value.double, budget.allows(number) else {
            throw error("\(budget.name) is \(value.kind); give \(budget.description)")
          }
          return number
        })
    else {
      throw error(
        "pattern \(quoted(name, limit: 32)) is unknown; known are \(Selectors.knownNames)")
    }
    let measurement = HeadMeasurement(
      recall: entry["recall"]?.double, tenthPercentile: entry["tenth_percentile"]?.double,
      outputError: entry["output_error"]?.double, milliseconds: entry["milliseconds"]?.double,
      density: entry["density"]?.double)
    return (pattern, measurement == HeadMeasurement() ? nil : measurement)
  }
}
