package import JSON
package import MInference
import TextReports

/// How fast texts are split, and made into ids, as tables and as JSON.
package struct TokenizingReport {
  private let splits: [SplitBenchmark.Row]
  private let encoding: TokenizerBenchmark?

  package init(splits: [SplitBenchmark.Row], encoding: TokenizerBenchmark?) {
    self.splits = splits
    self.encoding = encoding
  }

  package var text: String {
    var table = TextTable(header: ["pattern", "by", "text", "bytes", "pieces", "MB/s"])
    for row in splits {
      table.append([
        row.pattern, row.isScanner ? "scanner" : "matcher", row.text, Quantity.grouped(row.bytes),
        Quantity.grouped(row.pieces), Quantity.fixed(row.megabytesPerSecond, 1),
      ])
    }
    guard let encoding else { return table.text }
    var encoded = TextTable(header: ["encoding", "bytes", "tokens", "MB/s"])
    for row in encoding.rows {
      encoded.append([
        row.name, Quantity.grouped(row.bytes), Quantity.grouped(row.tokens),
        Quantity.fixed(row.megabytesPerSecond, 1),
      ])
    }
    return table.text + "\n" + encoded.text
      + "\nloaded in \(Quantity.seconds(encoding.loadSeconds)) of processor time, "
      + "\(Quantity.grouped(encoding.vocabularySize)) ids\n"
  }

  package var json: JSONValue {
    let splits = splits.map { row in
      JSONValue.object([
        ("pattern", .string(row.pattern)), ("by", .string(row.isScanner ? "scanner" : "matcher")),
        ("text", .string(row.text)), ("bytes", .integer(row.bytes)),
        ("pieces", .integer(row.pieces)), ("seconds", .number(row.seconds)),
      ])
    }
    guard let encoding else { return .object([("splits", .array(splits))]) }
    let encoded = encoding.rows.map { row in
      JSONValue.object([
        ("text", .string(row.name)), ("bytes", .integer(row.bytes)),
        ("tokens", .integer(row.tokens)), ("seconds", .number(row.seconds)),
      ])
    }
    return .object([
      ("splits", .array(splits)), ("encoding", .array(encoded)),
      ("load_s", .number(encoding.loadSeconds)),
    ])
  }
}
