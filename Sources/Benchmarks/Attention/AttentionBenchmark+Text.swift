package import JSON
import MInference
import TextReports

/// Measurements as people and as programs read them.
extension AttentionBenchmark {
  /// One line a case; columns that no case has a figure for are left out.
  package static func table(_ measurements: [Measurement]) -> String {
    let product = measurements.first { $0.name == Self.productName }?.operationsPerSecond
    // Processors are a thousand times slower.
    let fastest = measurements.compactMap(\.operationsPerSecond).max() ?? 0
    let (unit, scale) = fastest < 10e12 ? ("GFLOP/s", 1e9) : ("TFLOP/s", 1e12)
    let columns: [(header: String, cell: (Measurement) -> String?)] = [
      ("case", { $0.name }),
      ("", { $0.detail.isEmpty ? nil : $0.detail }),
      ("kernel", { $0.kernel }),
      ("density", { $0.density.map { Quantity.percent($0) } }),
      ("ms", { milliseconds($0.seconds) }),
      ("ms with rounding", { $0.secondsWithRounding.map(milliseconds) }),
      ("useful \(unit)", { $0.operationsPerSecond.map { Quantity.fixed($0 / scale, 1) } }),
      (
        "of the product",
        { line in
          product.flatMap { product in
            line.operationsPerSecond.map { Quantity.percent($0 / product) }
          }
        }
      ),
      ("GB/s", { $0.bytesPerSecond.map { Quantity.fixed($0 / 1e9, 1) } }),
      ("rules of 64 rows", { $0.publishedDensity.map { Quantity.percent($0) } }),
      ("their time / ours", { $0.publishedRatio.map { Quantity.fixed($0, 2) } }),
    ].filter { column in measurements.contains { column.cell($0) != nil } }
    var table = TextTable(header: columns.map(\.header))
    for line in measurements { table.append(columns.map { $0.cell(line) ?? "" }) }
    return table.text
  }

  /// Four digits.
  private static func milliseconds(_ seconds: Double) -> String {
    let value = seconds * 1e3
    return Quantity.fixed(value, value < 10 ? 3 : value < 100 ? 2 : value < 1000 ? 1 : 0)
  }

  package static func json(_ measurements: [Measurement], tokens: Int) -> JSONValue {
    func number(_ value: Double?) -> JSONValue { value.map { .number($0) } ?? .null }
    return .object([
      ("tokens", .integer(tokens)),
      (
        "cases",
        .array(
          measurements.map { line in
            .object([
              ("name", .string(line.name)), ("detail", .string(line.detail)),
              ("kernel", line.kernel.map { .string($0) } ?? .null),
              ("density", number(line.density)), ("seconds", .number(line.seconds)),
              ("seconds_with_rounding", number(line.secondsWithRounding)),
              ("operations_per_s", number(line.operationsPerSecond)),
              ("bytes_per_s", number(line.bytesPerSecond)),
              ("published_rules_density", number(line.publishedDensity)),
              ("published_rules_time_ratio", number(line.publishedRatio)),
            ])
          })
      ),
    ])
  }
}
