public import Compute

extension CUDABackend {
  public func mostLikely(_ logits: Tensor) throws -> [Int32?] {
    let ids = try makeTensor(.int32, [logits.rows], purpose: "token ids")
    var arguments = KernelArguments()
    arguments.add(try address(logits, .float32, "mostLikely"))
    arguments.add(try address(ids, "mostLikely"))
    arguments.add(Int32(logits.rowCount))
    arguments.add(Int64(logits.rowCount))
    try kernel("argmax", in: "sampling.cu").launch(
      grid: (logits.rows, 1, 1), block: SamplingLaunch.threads, arguments)
    let found: [Int32] = try values(of: ids)
    return found.map { $0 < 0 ? nil : $0 }
  }

  public func draw(_ draw: TokenDraw, from logits: Tensor, random: [UInt64]) throws -> [Int32?] {
    try require(
      logits.rows == random.count, "draw",
      "logits \(logits.shape), \(random.count) random numbers")
    let ids = try makeTensor(.int32, [logits.rows], purpose: "token ids")
    let (from, to) = (try address(logits, .float32, "draw"), try address(ids, "draw"))
    let width = logits.rowCount
    for (row, bits) in random.enumerated() {
      var arguments = KernelArguments()
      arguments.add(from + UInt64(4 * row * width))
      arguments.add(to + UInt64(4 * row))
      arguments.add(Int32(width))
      arguments.add(Int32(clamping: draw.topK))
      arguments.add(draw.steepness)
      for word in [draw.topP, draw.leastWeight, bits] { arguments.add(word) }
      try kernel("draw", in: "sampling.cu").launch(
        grid: (1, 1, 1), block: SamplingLaunch.threads, arguments)
    }
    let found: [Int32] = try values(of: ids)
    return found.map { $0 < 0 ? nil : $0 }
  }

  public func penalize(_ ids: [Int32], in logits: Tensor, by penalty: Float) throws {
    let width = logits.rowCount
    try require(
      ids.allSatisfy { (0..<width).contains(Int($0)) }, "penalize",
      "logits \(logits.shape), ids beyond them")
    guard !ids.isEmpty else { return }
    var arguments = KernelArguments()
    arguments.add(try address(logits, .float32, "penalize"))
    let list = try uploaded(ids, purpose: "seen ids")
    defer { withExtendedLifetime(list) {} }
    arguments.add(try address(list, "penalize"))
    arguments.add(Int32(ids.count))
    arguments.add(penalty)
    arguments.add(Int64(width))
    try kernel("penalize", in: "sampling.cu").launch(
      grid: (ElementwiseLaunch.blocks(ids.count), logits.rows, 1),
      block: ElementwiseLaunch.threads, arguments)
  }
}

/// Geometry of `sampling.cu`.
package enum SamplingLaunch {
  package static let threads = 1024
}
