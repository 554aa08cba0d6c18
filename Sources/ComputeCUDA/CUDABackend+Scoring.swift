public import Compute

extension CUDABackend {
  public func scoreTokens(
    logits: Tensor, next: [Int32]
  ) throws -> (likeliest: [Int32], logProbabilities: [Float]) {
    let width = logits.rowCount
    try require(
      logits.rows == next.count && next.allSatisfy { Int($0) < width }, "scoreTokens",
      "logits \(logits.shape), \(next.count) ids")
    let ids = try uploaded(next, purpose: "scored ids")
    let best = try makeTensor(.int32, [next.count], purpose: "likeliest ids")
    let scores = try makeTensor(.float32, [next.count], purpose: "scores")
    var arguments = KernelArguments()
    arguments.add(try address(logits, .float32, "scoreTokens"))
    for tensor in [ids, best, scores] { arguments.add(try address(tensor, "scoreTokens")) }
    arguments.add(Int32(width))
    try kernel("score_rows", in: ScoringLaunch.file).launch(
      grid: (next.count, 1, 1), block: ScoringLaunch.threads, arguments)
    return (try values(of: best), try values(of: scores))
  }

  public func divergences(of logits: Tensor, from reference: Tensor) throws -> [Float] {
    try require(
      logits.shape == reference.shape && logits.rowCount > 0, "divergences",
      "logits \(logits.shape), reference \(reference.shape)")
    let found = try makeTensor(.float32, [logits.rows], purpose: "divergences")
    var arguments = KernelArguments()
    for tensor in [logits, reference] {
      arguments.add(try address(tensor, .float32, "divergences"))
    }
    arguments.add(try address(found, "divergences"))
    arguments.add(Int32(logits.rowCount))
    try kernel("diverge_rows", in: ScoringLaunch.file).launch(
      grid: (logits.rows, 1, 1), block: ScoringLaunch.threads, arguments)
    return try values(of: found)
  }
}

/// Geometry of `scoring.cu`.
package enum ScoringLaunch {
  package static let file = "scoring.cu"
  package static let threads = 256
}
