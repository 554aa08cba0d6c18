package import Compute

/// Made-up inputs (`synthetic.cu`).
extension CUDABackend: SyntheticBackend {
  package var peakBytes: Int { peakDeviceBytes }

  package func limitMemory(to bytes: Int) { memoryLimit = bytes }

  package func attentionKernel(headDim: Int) -> String {
    if attentionPrecision == .fp8 { return "Hopper, fp8" }
    return usesHopperKernel(headDim: headDim) ? "Hopper" : "portable"
  }

  private static let file = "synthetic.cu"

  package func makeRandom(
    _ type: DataType, _ shape: [Int], deviation: Float, seed: UInt64, purpose: String
  ) throws -> Tensor {
    let tensor = try makeTensor(.bfloat16, shape, purpose: purpose)
    forgetFloat8Blocks()
    var arguments = KernelArguments()
    arguments.add(try address(tensor, "makeRandom"))
    arguments.add(Int64(tensor.count))
    // Neighbouring seeds must not give neighbouring stretches of one sequence.
    arguments.add(seed &* 0x9E37_79B9_7F4A_7C15)
    arguments.add(deviation)
    try kernel("fill_normal", in: Self.file).launch(
      grid: (ElementwiseLaunch.blocks(tensor.count), 1, 1), block: ElementwiseLaunch.threads,
      arguments)
    return try converted(tensor, to: type)
  }

  package func copy(_ x: Tensor, to y: Tensor) throws {
    forgetFloat8Blocks()
    try require(x.byteCount == y.byteCount, "copy", "\(x.byteCount) to \(y.byteCount) bytes")
    try device.activate()
    try device.driver.check(
      "cuMemcpyDtoDAsync",
      device.driver.copyOnDevice(
        address(y, "copy"), address(x, "copy"), x.byteCount, device.stream))
  }

  package func makeIDs(_ ids: [Int32]) throws -> Tensor {
    try uploaded(ids, purpose: "token ids")
  }

  package func bareProducts(
    _ x: Tensor, weight: Tensor, into y: Tensor, count: Int
  ) throws -> [() throws -> Void] {
    let operands = LinearLayers.Operands(
      x: try address(x, .bfloat16, "linear"), weight: try address(weight, .bfloat16, "linear"),
      y: try address(y, .bfloat16, "linear"))
    let shape = LinearLayers.Shape(
      rows: x.rows, outputs: weight.rows, inputs: x.rowCount, inputStride: x.rowCount,
      outputStride: weight.rows, output: .bfloat16, accumulate: false, hasBias: false,
      alignment: LinearLayers.alignment(of: [operands.x, operands.weight, operands.y]))
    return try linearLayers.candidates(shape, count: count).map { plan in
      { try self.linearLayers.multiply(shape, operands, by: plan) }
    }
  }

  package func injectQueries(
    _ q: Tensor, firstPosition: Int, keys: Int, magnitude: Float
  ) throws {
    var arguments = KernelArguments()
    arguments.add(try address(q, .bfloat16, "injectQueries"))
    for extent in q.shape { arguments.add(Int32(extent)) }
    arguments.add(Int32(firstPosition))
    arguments.add(Int32(keys % 64))
    arguments.add(magnitude)
    try kernel("inject_queries", in: Self.file).launch(
      grid: (ElementwiseLaunch.blocks(q.count), 1, 1), block: ElementwiseLaunch.threads, arguments)
  }

  package func injectKeys(
    _ k: Tensor, firstPosition: Int, offsetScores: Tensor, columnScores: Tensor, seed: UInt64
  ) throws {
    forgetFloat8Blocks()
    try require(
      k.shape.count == 3 && k.shape[2] >= 64 && offsetScores.shape == columnScores.shape
        && offsetScores.rows == k.shape[1], "injectKeys",
      "k \(k.shape), scores \(offsetScores.shape); heads have at least 64 dimensions")
    var arguments = KernelArguments()
    arguments.add(try address(k, .bfloat16, "injectKeys"))
    arguments.add(try address(offsetScores, .float32, "injectKeys"))
    arguments.add(try address(columnScores, .float32, "injectKeys"))
    for extent in k.shape { arguments.add(Int32(extent)) }
    arguments.add(Int32(firstPosition))
    arguments.add(Int32(offsetScores.rowCount))
    arguments.add(seed)
    try kernel("inject_keys", in: Self.file).launch(
      grid: (ElementwiseLaunch.blocks(k.count), 1, 1), block: ElementwiseLaunch.threads, arguments)
  }
}
