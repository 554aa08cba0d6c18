import MInference

/// Decoding steps that a device records: repeated, they give bit for bit what the same operations give
/// when they are asked for one by one.
extension KernelVerifier {
  mutating func checkSteps() {
    guard let device = backend as? any StepRecording else { return }
    for (headDim, window) in [(64, nil), (128, nil), (128, 70)] as [(Int, Int?)] {
      let shape = AttentionShape(
        queryHeads: 4, keyValueHeads: 2, headDim: headDim, slidingWindow: window)
      let problem = StepProblem(shape, tokens: 600, &self)
      for (keyLimit, positions) in [(128, [0, 1, 63, 64, 127]), (600, [5, 300, 598])] {
        let name = "\(shape.queryHeads)/2 x \(headDim), window \(window ?? 0), up to \(keyLimit)"
        guard let number = place(of: "decoding step") else { continue }
        do {
          let side = KernelSide(backend, precision)
          let step = try problem.step(on: side)
          // What is loaded and measured at a first use is there when the step is recorded.
          try step.compute()
          let recorded = try device.recordStep(
            rows: 1, keyLimit: keyLimit, work: step.compute)
          for position in positions {
            let id = Int32(position % StepProblem.vocabulary)
            try device.performStep(
              ids: [id], positions: [position], keyLimit: keyLimit, work: step.compute)
            let expected = try backend.read(step.logits)
            try recorded.run(ids: [id], positions: [position])
            let isEqual = try backend.read(step.logits) == expected
            checks[number].add(
              "\(name), at \(position)", error: isEqual ? 0 : .infinity, tolerance: 1)
          }
        } catch {
          checks[number].add("\(name): \(error)", error: .infinity, tolerance: 1)
        }
      }
    }
  }
}

/// One layer of a decoder without a feed-forward, with random weights.
private struct StepProblem {
  static let vocabulary = 40
  private static let hidden = 256
  private let shape: AttentionShape
  private let table: [Float]
  private let query: [Float]
  private let keyAndValue: [Float]
  private let output: [Float]
  private let keys: [Float]
  private let values: [Float]

  init(_ shape: AttentionShape, tokens: Int, _ verifier: inout KernelVerifier) {
    self.shape = shape
    let (heads, dim) = (shape.queryHeads * shape.headDim, shape.keyValueHeads * shape.headDim)
    table = verifier.numbers(Self.vocabulary * Self.hidden)
    query = verifier.numbers(heads * Self.hidden, magnitude: 0.1)
    keyAndValue = verifier.numbers(dim * Self.hidden, magnitude: 0.1)
    output = verifier.numbers(Self.vocabulary * heads, magnitude: 0.1)
    keys = verifier.numbers(tokens * dim)
    values = verifier.numbers(tokens * dim)
  }

  /// The operations of a step, and where they leave their logits.
  func step(on side: KernelSide) throws -> (logits: Tensor, compute: () throws -> Void) {
    let backend = side.backend
    let (heads, dim) = (shape.queryHeads * shape.headDim, shape.keyValueHeads * shape.headDim)
    func matrix(_ values: [Float], _ extents: [Int], _ role: WeightRole) throws -> Weight {
      try side.weight(values, extents, type: .bfloat16, as: role)
    }
    let embedding = try matrix(table, [Self.vocabulary, Self.hidden], .vocabulary)
    let q = try matrix(query, [heads, Self.hidden], .matrix)
    let kv = try matrix(keyAndValue, [dim, Self.hidden], .matrix)
    let o = try matrix(output, [Self.vocabulary, heads], .vocabulary)
    let layer = try side.layer(k: keys, v: values, shape: shape, type: .bfloat16, spare: 0)
    let rotary = RotaryEmbedding(
      inverseFrequencies: (0..<shape.headDim / 2).map { 1 / Float(1 + $0) }, attentionScaling: 1,
      layout: .halves)
    let x = try side.output([1, Self.hidden])
    let queries = try side.output([1, shape.queryHeads, shape.headDim])
    let newKeys = try side.output([1, shape.keyValueHeads, shape.headDim])
    let logits = try side.output([1, Self.vocabulary], .float32)
    let shape = shape
    return (
      logits,
      {
        try backend.embed([0], table: embedding, into: x)
        try backend.linear(
          x, weight: q, bias: nil, into: queries.reshaped([1, heads]), accumulate: false)
        try backend.linear(
          x, weight: kv, bias: nil, into: newKeys.reshaped([1, dim]), accumulate: false)
        try backend.rotate(queries, rotary, firstPosition: 0)
        try backend.rotate(newKeys, rotary, firstPosition: 0)
        try backend.store(k: newKeys, v: newKeys, in: layer, firstPosition: 0)
        try backend.rowAttention(
          q: queries, positions: [0], layer: layer, shape: shape, into: queries, logSumExp: nil)
        try backend.linear(
          queries.reshaped([1, heads]), weight: o, bias: nil, into: logits, accumulate: false)
      }
    )
  }
}
