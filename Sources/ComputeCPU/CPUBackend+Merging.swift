public import Compute

extension CPUBackend {
  public func mergeAttention(
    _ part: Tensor, logSumExp: Tensor, into o: Tensor, logSumExp whole: Tensor
  ) throws {
    guard part.shape == o.shape, part.shape.count == 3, logSumExp.shape == whole.shape,
      logSumExp.shape == [part.shape[0], part.shape[1]]
    else {
      throw ComputeError.shapeMismatch(
        operation: "mergeAttention",
        detail: "part \(part.shape) with \(logSumExp.shape), o \(o.shape) with \(whole.shape)")
    }
    let width = part.shape[2]
    let source = try part.floats("mergeAttention")
    let target = try o.floats("mergeAttention")
    let sourceSums = try logSumExp.floats("mergeAttention")
    let targetSums = try whole.floats("mergeAttention")
    pool.split(logSumExp.count, minimum: 256) { range in
      for index in range {
        let weights = AttentionMerging.weights(sourceSums[index], targetSums[index])
        targetSums[index] = weights.logSumExp
        for element in index * width..<(index + 1) * width {
          target[element] = weights.x * source[element] + weights.y * target[element]
        }
      }
    }
  }
}
