package import Compute
import MInference

/// How fast the kernels that move bytes are, beside a copy on the same device; and the products.
package struct KernelSpeed {
  package struct Row: Sendable {
    package var kernel: String
    package var work: String
    package var seconds: Double
    /// Bytes read and written at least, or operations, a second.
    package var rate: Double
    /// Whether ``rate`` counts operations.
    package var isArithmetic: Bool
    /// Of the copy's bandwidth; nil for arithmetic.
    package var share: Double?
  }

  /// Sizes of an 8B model.
  private static let hidden = 4096
  private static let intermediate = 14336

  /// Every kernel over `rows` rows; medians of `repetitions` after a run to warm up.
  ///
  /// - Throws: `ComputeError.unavailable` on a device that cannot copy.
  package static func measure(
    _ backend: any Backend, rows: Int, repetitions: Int = 10
  ) throws -> [Row] {
    guard let device = backend as? any SyntheticBackend else {
      throw ComputeError.unavailable(
        what: "the speed of single kernels on \(backend.name)", remedy: "use bench attention")
    }
    var seed: UInt64 = 40
    func random(_ shape: [Int], _ type: DataType = .bfloat16) throws -> Tensor {
      seed += 1
      return try device.makeRandom(type, shape, deviation: 1, seed: seed, purpose: "measuring")
    }
    let x = try random([rows, hidden])
    let y = try random([rows, hidden])
    var rowsOfTable: [Row] = []
    var copyRate = 0.0
    func add(
      _ kernel: String, _ work: String, bytes: Double? = nil, operations: Double? = nil,
      _ body: () throws -> Void
    ) throws {
      try body()
      let seconds = try (0..<repetitions).map { _ in
        let watch = device.makeStopwatch()
        try watch.time(body)
        return watch.seconds
      }.sorted()[repetitions / 2]
      let rate = (bytes ?? operations ?? 0) / seconds
      if kernel == "copy" { copyRate = rate }
      rowsOfTable.append(
        Row(
          kernel: kernel, work: work, seconds: seconds, rate: rate,
          isArithmetic: operations != nil,
          share: bytes == nil || copyRate == 0 ? nil : rate / copyRate))
    }
    let size = Double(x.byteCount)
    let place = "\(rows) x \(hidden)"
    try add("copy", place, bytes: 2 * size) { try device.copy(x, to: y) }
    let ids = (0..<rows).map { Int32($0 * 7919 % rows) }
    try add("embed", place, bytes: 2 * size) { try device.embed(ids, table: x, into: y) }
    let weight = try random([hidden], .float32)
    try add("rmsNorm", place, bytes: 2 * size) {
      try device.rmsNorm(x, weight: weight, epsilon: 1e-5, into: y)
    }
    try add("add", place, bytes: 3 * size) { try device.add(x, to: y) }
    let heads = y.reshaped([rows, hidden / 128, 128])
    let rotary = RotaryEmbedding(inverseFrequencies: (0..<64).map { 1 / Float(1 + $0 * $0) })
    try add("rotate", place, bytes: 2 * size) {
      try device.rotate(heads, rotary, firstPosition: 0)
    }
    let block = min(rows, 32768)
    let gate = try random([block, intermediate])
    let up = try random([block, intermediate])
    try add("swiGLU", "\(block) x \(intermediate)", bytes: 3 * Double(gate.byteCount)) {
      try device.swiGLU(gate: gate, up: up)
    }
    let k = try random([rows, 8, 128])
    let layer = KeyValueLayer(
      keys: try random([8, rows, 128]), values: try random([8, rows, 128]), count: rows)
    try add("store", "\(rows) x 8 x 128, keys and values", bytes: 4 * Double(k.byteCount)) {
      try device.store(k: k, v: k, in: layer, firstPosition: 0)
    }
    let shape = AttentionShape(queryHeads: 32, keyValueHeads: 8, headDim: 128)
    let q = try random([1, 32, 128])
    try add("rowAttention", "1 row, \(rows) keys", bytes: 2 * Double(layer.keys.byteCount)) {
      try device.rowAttention(
        q: q, positions: [rows - 1], layer: layer, shape: shape, into: q, logSumExp: nil)
    }
    let products = min(rows, 16384)
    for (outputs, inputs) in [
      (hidden, hidden), (1024, hidden), (intermediate, hidden), (hidden, intermediate),
    ] {
      let matrix = try random([outputs, inputs])
      let input = try random([products, inputs])
      let output = try random([products, outputs])
      for accumulate in [false, true] {
        try add(
          accumulate ? "linear, added" : "linear", "\(products) x \(inputs) to \(outputs)",
          operations: 2 * Double(products) * Double(outputs) * Double(inputs)
        ) {
          try device.linear(
            input, weight: matrix, bias: nil, into: output, accumulate: accumulate)
        }
      }
    }
    return rowsOfTable
  }

  package static func table(_ rows: [Row]) -> String {
    var table = TextTable(header: ["kernel", "work", "time", "rate", "of a copy"])
    for row in rows {
      table.append([
        row.kernel, row.work, Quantity.seconds(row.seconds),
        row.isArithmetic
          ? Quantity.fixed(row.rate / 1e12, 1) + " TFLOP/s"
          : Quantity.fixed(row.rate / 1e9, 0) + " GB/s",
        row.share.map { Quantity.percent($0) } ?? "",
      ])
    }
    return table.text
  }
}
