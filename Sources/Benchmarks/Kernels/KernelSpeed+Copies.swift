import MInference

/// Kernels that are bound by the bytes that they move.
extension KernelSpeed {
  /// What the others are measured beside.
  mutating func measureCopy() throws {
    let device = device
    let x = try random([rows, Self.hidden])
    let y = try random([rows, Self.hidden])
    try add("copy", "\(rows) x \(Self.hidden)", bytes: 2 * Double(x.byteCount)) {
      try device.copy(x, to: y)
    }
  }

  mutating func measureCopies() throws {
    try measureCopy()
    let (device, hidden, intermediate) = (device, Self.hidden, Self.intermediate)
    let x = try random([rows, hidden])
    let y = try random([rows, hidden])
    let size = Double(x.byteCount)
    let place = "\(rows) x \(hidden)"
    let ids = try device.makeIDs((0..<rows).map { Int32($0 * 7919 % rows) })
    try add("embed", place, bytes: 2 * size) {
      try device.embed(uploaded: ids, table: x, into: y)
    }
    for width in [hidden, 256, 128] {
      let weight = try device.prepare(random([width], .float32), as: .norm)
      let shape = [x.count / width, width]
      try add("rmsNorm", "\(shape[0]) x \(width)", bytes: 2 * size) {
        try device.rmsNorm(
          x.reshaped(shape), weight: weight, epsilon: 1e-5, into: y.reshaped(shape))
      }
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
    for keys in Set([min(rows, 32768), rows]).sorted() {
      let bytes = 2 * Double(layer.keys.byteCount) * Double(keys) / Double(rows)
      try add("rowAttention", "1 row, \(keys) keys, 8 calls", bytes: bytes, calls: 8) {
        try device.rowAttention(
          q: q, positions: [keys - 1], layer: layer, shape: shape, into: q, logSumExp: nil)
      }
    }
  }

  /// The choice of a token from the logits of a large vocabulary, until the host knows it. Reads them several
  /// times, and is bound by latency.
  mutating func measureSampling() throws {
    let device = device
    let logits = try random([1, 151_936], .float32)
    let draws: [(String, TokenDraw?)] = [
      ("most likely", nil), ("temperature 1", TokenDraw(temperature: 1)),
      ("top-k 50", TokenDraw(temperature: 1, topK: 50)),
      ("top-k 50, top-p 0.9", TokenDraw(temperature: 1, topK: 50, topP: 0.9)),
      ("top-p 0.9", TokenDraw(temperature: 1, topP: 0.9)),
    ]
    for (name, draw) in draws {
      try add(
        draw == nil ? "mostLikely" : "draw", "1 of 151936, \(name)",
        bytes: Double(logits.byteCount)
      ) {
        if let draw {
          _ = try device.draw(draw, from: logits, random: [1 << 63])
        } else {
          _ = try device.mostLikely(logits)
        }
      }
    }
  }

  /// What quantizes the inputs of linear layers.
  mutating func measureQuantization() throws {
    let (device, hidden, intermediate) = (device, Self.hidden, Self.intermediate)
    let x = try random([rows, hidden])
    let weight = try device.prepare(random([hidden], .float32), as: .norm)
    let y = try device.makeLinearInput([rows, hidden], purpose: "measuring")
    try add(
      "rmsNorm to fp8", "\(rows) x \(hidden)", bytes: Double(x.byteCount + y.byteCount)
    ) {
      try device.rmsNorm(x, weight: weight, epsilon: 1e-5, into: y)
    }
    let block = min(rows, 32768)
    let gate = try random([block, intermediate])
    let up = try random([block, intermediate])
    let product = try device.makeLinearInput([block, intermediate], purpose: "measuring")
    try add(
      "swiGLU to fp8", "\(block) x \(intermediate)",
      bytes: Double(2 * gate.byteCount + product.byteCount)
    ) {
      try device.swiGLU(gate: gate, up: up, into: product)
    }
  }
}
