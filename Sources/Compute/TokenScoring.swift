#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Scoring on the host, for backends without a kernel for it.
extension Backend {
  public func scoreTokens(
    logits: Tensor, next: [Int32]
  ) throws -> (likeliest: [Int32], logProbabilities: [Float]) {
    let width = logits.rowCount
    guard logits.rows == next.count, next.allSatisfy({ Int($0) < width }) else {
      throw ComputeError.shapeMismatch(
        operation: "scoreTokens", detail: "logits \(logits.shape), \(next.count) ids")
    }
    let values = try read(logits)
    var likeliest: [Int32] = []
    var logProbabilities: [Float] = []
    for (row, id) in next.enumerated() {
      let logits = values[row * width..<(row + 1) * width]
      var best = logits.startIndex
      for index in logits.indices where logits[index] > logits[best] { best = index }
      likeliest.append(Int32(best - logits.startIndex))
      let largest = logits[best]
      let sum = logits.reduce(0.0) { $0 + Double(expf($1 - largest)) }
      let logit = id < 0 ? nil : logits[logits.startIndex + Int(id)]
      logProbabilities.append(
        logit.map { Float(Double($0) - Double(largest) - log(sum)) } ?? 0)
    }
    return (likeliest, logProbabilities)
  }
}
