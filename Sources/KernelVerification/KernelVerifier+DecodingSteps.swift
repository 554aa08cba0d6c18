import MInference
import StoredNumbers

/// Recorded steps of several sequences: they give bit for bit what their operations give one by one, also for
/// other sequences than those that they were recorded with.
extension KernelVerifier {
  mutating func checkRecordedSteps() {
    guard backend is any StepRecording else { return }
    let all: [[DecodingWeights]] = [
      [.dense(.bfloat16)], [.float8(blockRows: 128, blockColumns: 128)], [.blocks(.q4K)],
      [.blocks(.q6K), .blocks(.q4K)], [.blocks(.q80), .dense(.bfloat16)],
    ]
    for weights in all
    where weights.allSatisfy({ backend.capabilities.weightFormats.contains($0.format) }) {
      for (rows, headDim, type, tokens) in [
        (1, 64, DataType.bfloat16, 600), (1, 128, .bfloat16, 9000), (3, 64, .bfloat16, 600),
        (3, 128, .float8, 600), (19, 96, .bfloat16, 100),
      ] {
        checkRecordedStep(
          weights, rows: rows,
          shape: AttentionShape(
            queryHeads: 8, keyValueHeads: 2, headDim: headDim), type: type, tokens: tokens)
      }
    }
  }

  private mutating func checkRecordedStep(
    _ weights: [DecodingWeights], rows: Int, shape: AttentionShape, type: DataType, tokens: Int
  ) {
    guard let device = backend as? any StepRecording else { return }
    let problem = DecoderProblem(weights, shape: shape, &self)
    let width = shape.keyValueHeads * shape.headDim
    let keys = (0..<2 * rows).map { _ in numbers(tokens * width) }
    guard let number = place(of: "decoding step of sequences") else { return }
    let name = "\(rows) rows, \(weights), \(shape.headDim) x \(type.rawValue)"
    do {
      let side = KernelSide(backend, precision)
      let layers = try keys.map { keys in
        try (0..<DecoderProblem.layers).map { _ in
          try side.layer(k: keys, v: keys, shape: shape, type: type, spare: 0)
        }
      }
      let decoder = try problem.decoder(rows: rows, on: side)
      let (first, second) = (Array(layers[..<rows]), Array(layers[rows...]))
      // What is loaded and measured at a first use is there when the step is recorded.
      try decoder.compute(first)
      let recorded = try device.recordStep(rows: rows, keyLimit: tokens) {
        try decoder.compute(first)
      }
      for (sequences, start) in [
        (first, 0), (first, tokens / 2), (second, 64), (first, tokens - rows),
      ] {
        let positions = (0..<rows).map { start + $0 }
        let ids = positions.map { Int32($0 % DecoderProblem.vocabulary) }
        try device.performStep(ids: ids, positions: positions, keyLimit: tokens) {
          try decoder.compute(sequences)
        }
        let expected = try backend.read(decoder.logits)
        try recorded.bind(sequences)
        try recorded.run(ids: ids, positions: positions)
        checks[number].add(
          "\(name) at \(start)",
          error: KernelCheck.relativeError(try backend.read(decoder.logits), expected),
          tolerance: .leastNormalMagnitude)
      }
    } catch {
      checks[number].add("\(name): \(error)", error: .infinity, tolerance: 1)
    }
  }
}

/// A decoder of two layers with random weights.
private struct DecoderProblem {
  static let layers = 2
  static let vocabulary = 40
  private static let hidden = 512
  private static let inner = 1280

  private struct Layer {
    let norms: [[Float]]
    let projections: [KernelVerifier.Matrix]
    let biases: [[Float]]
    let output: KernelVerifier.Matrix
    let gate: KernelVerifier.Matrix
    let up: KernelVerifier.Matrix
    let down: KernelVerifier.Matrix
  }

  private let shape: AttentionShape
  private let table: [Float]
  private let layers: [Layer]
  private let norm: [Float]
  private let head: KernelVerifier.Matrix

  /// - Parameter weights: Formats that matrices take in turn.
  init(
    _ weights: [KernelVerifier.DecodingWeights], shape: AttentionShape,
    _ verifier: inout KernelVerifier
  ) {
    self.shape = shape
    var made = 0
    func matrix(_ outputs: Int, _ inputs: Int) -> KernelVerifier.Matrix {
      made += 1
      return verifier.matrix(weights[made % weights.count], outputs, inputs)
    }
    let widths = [shape.queryHeads, shape.keyValueHeads, shape.keyValueHeads].map {
      $0 * shape.headDim
    }
    table = verifier.numbers(Self.vocabulary * Self.hidden)
    var layers: [Layer] = []
    for _ in 0..<Self.layers {
      let norms = (0..<2).map { _ in verifier.numbers(Self.hidden).map { 1 + $0 / 4 } }
      let biases = widths.map { verifier.numbers($0) }
      layers.append(
        Layer(
          norms: norms, projections: widths.map { matrix($0, Self.hidden) }, biases: biases,
          output: matrix(Self.hidden, widths[0]), gate: matrix(Self.inner, Self.hidden),
          up: matrix(Self.inner, Self.hidden), down: matrix(Self.hidden, Self.inner)))
    }
    self.layers = layers
    norm = verifier.numbers(Self.hidden).map { 1 + $0 / 4 }
    head = matrix(Self.vocabulary, Self.hidden)
  }

  /// The operations of a step, and where they leave their logits.
  struct Decoder {
    let logits: Tensor
    /// Takes the layers of each sequence.
    let compute: ([[KeyValueLayer]]) throws -> Void
  }

  func decoder(rows: Int, on side: KernelSide) throws -> Decoder {
    let backend = side.backend
    let shape = shape
    func row(_ values: [Float], as role: WeightRole) throws -> Weight {
      try side.weight(values, [values.count], type: .float32, as: role)
    }
    func norm(_ values: [Float]) throws -> RowNorm {
      RowNorm(weight: try row(values, as: .norm), epsilon: 1e-5)
    }
    let embedding = try side.weight(
      table, [Self.vocabulary, Self.hidden], type: .bfloat16, as: .vocabulary)
    let x = try side.output([rows, Self.hidden])
    let normed = try side.output([rows, Self.hidden])
    let heads = [shape.queryHeads, shape.keyValueHeads, shape.keyValueHeads]
    let rotated = try heads.map { try side.output([rows, $0, shape.headDim]) }
    let (gate, up) = (
      try side.output([rows, Self.inner]), try side.output([rows, Self.inner])
    )
    let logits = try side.output([rows, Self.vocabulary], .float32)
    let rotary = RotaryEmbedding(
      inverseFrequencies: (0..<shape.headDim / 2).map { 1 / Float(1 + $0) }, attentionScaling: 1,
      layout: .halves)
    let layers = try layers.map { layer in
      (
        norms: try layer.norms.map(norm),
        products: try zip(zip(layer.projections, layer.biases), rotated).map { weights, y in
          RowProduct(
            weight: try weights.0(side), bias: try row(weights.1, as: .bias),
            y: y.reshaped([rows, y.rowCount]))
        },
        output: try layer.output(side),
        gate: RowProduct(weight: try layer.gate(side), bias: nil, y: gate),
        up: RowProduct(weight: try layer.up(side), bias: nil, y: up),
        down: try layer.down(side)
      )
    }
    let last = RowProduct(weight: try head(side), bias: nil, y: logits)
    let lastNorm = try norm(self.norm)
    return Decoder(logits: logits) { sequences in
      let positions = [Int](repeating: 0, count: rows)
      try backend.embed([Int32](repeating: 0, count: rows), table: embedding, into: x)
      for (index, layer) in layers.enumerated() {
        let own = sequences.map { $0[index] }
        try backend.storeProjections(
          of: x, norm: layer.norms[0], normed: normed, products: layer.products,
          heads: ProjectedHeads(
            q: rotated[0], k: rotated[1], v: rotated[2], norms: nil,
            rotaries: Array(repeating: rotary, count: rows)), in: own, positions: positions)
        try backend.rowAttention(
          q: rotated[0], positions: positions, sequences: own, shape: shape,
          projection: RowProduct(weight: layer.output, bias: nil, y: x), accumulate: true)
        let product = try backend.gatedLinear(
          x, norm: layer.norms[1], normed: normed, gate: layer.gate, up: layer.up, input: nil)
        try backend.rowLinear(
          product, weight: layer.down, bias: nil, into: x, accumulate: true)
      }
      try backend.normedLinear(x, norm: lastNorm, normed: normed, products: [last])
    }
  }
}
