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
}

/// Geometry of `sampling.cu`.
package enum SamplingLaunch {
  package static let threads = 1024
}
