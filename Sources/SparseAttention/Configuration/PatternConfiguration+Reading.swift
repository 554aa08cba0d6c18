extension PatternConfiguration {
  /// Reads a pattern file of either layout.
  ///
  /// - Upstream's: a list of layers, each an object from head number to
  ///   `[pattern, a, b, score]`, where pattern is `vertical_and_slash` (a columns, b offsets),
  ///   `stream_llm` (a first keys, b nearest) or `block_sparse` (top 100 blocks, whatever a and b
  ///   say, as upstream runs it). A head that is missing is vertical-slash (1000, 6096).
  /// - Our own: see ``write(toFile:)``. An entry is an object with `pattern` and its budgets, or
  ///   `"dense"` alone.
  ///
  /// - Throws: ``PatternError`` that names the file, and the layer and head where there is one.
  public init(contentsOfFile file: String) throws {
    let json = try JSONValue(contentsOfFile: file)
    switch json {
    case .array(let layers): try self.init(upstream: layers, file: file)
    case .object: try self.init(versioned: json, file: file)
    default:
      throw PatternError.malformed(
        file: file, detail: "it holds \(json.short), not a list or an object")
    }
  }

  private init(upstream layers: [JSONValue], file: String) throws {
    guard !layers.isEmpty else {
      throw PatternError.malformed(file: file, detail: "it lists no layers")
    }
    var listed: [[Int: (HeadPattern, HeadMeasurement?)]] = []
    for (layer, value) in layers.enumerated() {
      guard case .object(let entries) = value else {
        throw PatternError.malformed(
          file: file, detail: "layer \(layer) is \(value.short), not an object of heads")
      }
      var heads: [Int: (HeadPattern, HeadMeasurement?)] = [:]
      // In order, so that of several mistakes the first is named.
      for (name, entry) in entries.sorted(by: { ($0.key.count, $0.key) < ($1.key.count, $1.key) }) {
        let at = Entry(file: file, layer: layer, head: name)
        guard let head = Int(name), (0..<65_536).contains(head) else {
          throw at.error("the head is no number from 0; name it by its number")
        }
        heads[head] = try at.upstreamPattern(entry)
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

  private init(versioned json: JSONValue, file: String) throws {
    guard json["format"]?.string == Self.format else {
      throw PatternError.malformed(
        file: file, detail: "it has no \"format\": \"\(Self.format)\" and is no list of layers")
    }
    guard let version = json["version"]?.integer, version == 1 else {
      throw PatternError.version(file: file, version: json["version"]?.short ?? "none")
    }
    guard let layers = json["model"]?["layers"]?.integer, layers > 0,
      let heads = json["model"]?["query_heads"]?.integer, heads > 0
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
          file: file, detail: "layer \(layer) is \(row.short), not a list of \(heads) heads")
      }
      let read = try entries.enumerated().map { head, entry in
        try Entry(file: file, layer: layer, head: "\(head)").pattern(entry)
      }
      patterns.append(read.map(\.0))
      measurements.append(read.map(\.1))
    }
    var metadata = PatternMetadata(
      model: json["model"]?["name"]?.string, device: json["device"]?.string,
      tokens: json["tokens"]?.integer, fingerprint: json["model"]?["fingerprint"]?.string,
      recall: Self.figures(json["recall"]), validation: Self.figures(json["validation"]),
      outputError: json["output_error"]?.number, costs: try Self.costs(json["costs"], file: file))
    if case .array(let lengths) = json["lengths"] {
      metadata.lengths = lengths.compactMap(\.integer)
    }
    if case .array(let samples) = json["samples"] {
      metadata.samples = samples.compactMap(\.string)
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
      guard let value = json[name]?.number, value.isFinite, value >= 0 else {
        throw PatternError.malformed(
          file: file,
          detail: "\"costs\" has \"\(name)\" \(json[name]?.short ?? "missing"), not a number "
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
    guard let mean = json?["mean"]?.number, let worst = json?["worst"]?.number else { return nil }
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
    guard let number = value.integer, (1...Int(Int32.max)).contains(number) else {
      throw error("\(name) is \(value.short); give a whole number of at least 1")
    }
    return number
  }

  func upstreamPattern(_ entry: JSONValue) throws -> (HeadPattern, HeadMeasurement?) {
    guard case .array(let fields) = entry, fields.count >= 3, let name = fields[0].string else {
      throw error("is \(entry.short); give [pattern, size, size, score]")
    }
    let score = fields.count > 3 ? fields[3].number : nil
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
        "pattern \(fields[0].short) is unknown; known are vertical_and_slash, stream_llm and "
          + "block_sparse")
    }
  }

  func pattern(_ entry: JSONValue) throws -> (HeadPattern, HeadMeasurement?) {
    if entry == .null { return (.unlisted, nil) }
    guard let name = entry.string ?? entry["pattern"]?.string else {
      throw error("is \(entry.short); give an object with a \"pattern\"")
    }
    let pattern = try HeadPattern(named: name) { budget in
      guard let value = entry[budget.name] else {
        if budget.isRequired {
          throw error("\(budget.name) is missing; give \(budget.description)")
        }
        return nil
      }
      guard let number = value.number, budget.allows(number) else {
        throw error("\(budget.name) is \(value.short); give \(budget.description)")
      }
      return number
    }
    guard let pattern else {
      throw error("pattern \"\(name.prefix(32))\" is unknown; known are \(Selectors.knownNames)")
    }
    let measurement = HeadMeasurement(
      recall: entry["recall"]?.number, tenthPercentile: entry["tenth_percentile"]?.number,
      outputError: entry["output_error"]?.number, milliseconds: entry["milliseconds"]?.number,
      density: entry["density"]?.number)
    return (pattern, measurement == HeadMeasurement() ? nil : measurement)
  }
}
