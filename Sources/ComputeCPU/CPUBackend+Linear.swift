internal import CKernels
public import Compute

/// Linear layers: a BLAS for many rows, kernels that read the stored weights for few. Weights in blocks, of float8
/// and in pairs of bfloat16 have products of their own.
extension CPUBackend {
  /// Up to this many rows, reading the weights is the cost and they are used as they are stored.
  static let fewRows = 8
  /// Weights are widened to float32 in panels of at most this many elements.
  static let panelElements = 4 << 20

  /// Bytes of a weight that all rows are multiplied with before the next ones are read.
  private static let sharedWeightBytes = 256 << 10

  public func linear(
    _ x: Tensor, weight: Weight, bias: Weight?, into y: Tensor, accumulate: Bool
  ) throws {
    try linear(x, weight: weight, bias: bias, into: y, accumulate: accumulate, keepsRows: false)
  }

  public func rowLinear(
    _ x: Tensor, weight: Weight, bias: Weight?, into y: Tensor, accumulate: Bool
  ) throws {
    try linear(x, weight: weight, bias: bias, into: y, accumulate: accumulate, keepsRows: true)
  }

  /// - Parameter keepsRows: Whether each row is computed bit for bit as it is alone: by the kernels for few rows.
  private func linear(
    _ x: Tensor, weight: Weight, bias: Weight?, into y: Tensor, accumulate: Bool, keepsRows: Bool
  ) throws {
    func mismatch() -> ComputeError {
      .shapeMismatch(
        operation: "linear", detail: "x \(x.shape), weight \(weight.shape), y \(y.shape)")
    }
    guard weight.shape.count == 2, x.rowCount == weight.shape[1], y.rowCount == weight.shape[0],
      x.rows == y.rows, bias.map({ $0.count == weight.shape[0] }) ?? true
    else { throw mismatch() }
    let bias = try bias.map { UnsafePointer(try $0.tensor(for: "linear").floats("linear")) }
    if case .blocks(let format) = weight.format {
      return try linear(
        x, blocks: weight, format, bias: bias, into: y, accumulate: accumulate,
        keepsRows: keepsRows)
    }
    if let scales = weight.blockScales {
      return try linear(
        x, float8: weight, scales, bias: bias, into: y, accumulate: accumulate,
        keepsRows: keepsRows)
    }
    let weight = try weight.tensor(for: "linear")
    guard let type = weight.type.storage else { throw mismatch() }
    let source = try x.floats("linear")
    let target = try y.floats("linear")
    let weights = try weight.hostAddress
    if let bfloat16Products, type == MI_BFLOAT16, weight.shape[1].isMultiple(of: 2) {
      // Bit for bit the same for any number of rows.
      return try linear(
        source, rows: x.rows, bfloat16: weights.assumingMemoryBound(to: UInt16.self),
        shape: (outputs: weight.shape[0], width: weight.shape[1]), bias: bias, into: target,
        accumulate: accumulate, by: bfloat16Products)
    }
    if keepsRows || x.rows <= Self.fewRows {
      fewRowsLinear(x, source, weights, type, weight, bias, target, accumulate)
    } else {
      try manyRowsLinear(x, source, weights, type, weight, target, accumulate)
      if let bias {
        let out = weight.shape[0]
        pool.split(x.rows, minimum: 16) { rows in
          kernels.add_bias(bias, target + rows.lowerBound * out, Int64(rows.count), Int64(out))
        }
      }
    }
  }

  private func fewRowsLinear(
    _ x: Tensor, _ source: UnsafePointer<Float>, _ weights: UnsafeMutableRawPointer,
    _ type: mi_type, _ weight: Tensor, _ bias: UnsafePointer<Float>?,
    _ target: UnsafeMutablePointer<Float>, _ accumulate: Bool
  ) {
    let (out, width) = (weight.shape[0], weight.shape[1])
    // The kernel takes a few rows at a time and reads the weights again for the next few.
    let columnsAtOnce =
      x.rows <= Self.fewRows
      ? out : max(1, Self.sharedWeightBytes / (width * weight.type.byteCount))
    pool.split(out, minimum: max(1, (1 << 15) / width)) { columns in
      for first in stride(from: columns.lowerBound, to: columns.upperBound, by: columnsAtOnce) {
        kernels.linear_rows(
          source, Int64(x.rows), Int64(width), weights, type, bias, Int64(first),
          Int64(min(first + columnsAtOnce, columns.upperBound)), Int64(out), target, accumulate)
      }
    }
  }

  private func manyRowsLinear(
    _ x: Tensor, _ source: UnsafePointer<Float>, _ weights: UnsafeMutableRawPointer,
    _ type: mi_type, _ weight: Tensor, _ target: UnsafeMutablePointer<Float>, _ accumulate: Bool
  ) throws {
    let (out, width) = (weight.shape[0], weight.shape[1])
    let isWide = weight.type == .float32
    let columnsAtOnce = isWide ? out : min(out, max(1, Self.panelElements / width))
    guard let panel = isWide ? nil : HostBuffer(byteCount: columnsAtOnce * width * 4) else {
      if isWide {
        try multiply(
          source, rows: x.rows, width, weights.assumingMemoryBound(to: Float.self), columns: out,
          target, out: out, accumulate)
        return
      }
      throw ComputeError.outOfMemory(
        wantedBytes: columnsAtOnce * width * 4, purpose: "a panel of weights")
    }
    let wide = panel.base.assumingMemoryBound(to: Float.self)
    for first in stride(from: 0, to: out, by: columnsAtOnce) {
      let columns = min(columnsAtOnce, out - first)
      pool.split(columns * width, minimum: 1 << 14) { range in
        kernels.to_float32(
          weights + (first * width + range.lowerBound) * weight.type.byteCount, type,
          wide + range.lowerBound, Int64(range.count))
      }
      try multiply(
        source, rows: x.rows, width, wide, columns: columns, target + first, out: out, accumulate)
    }
  }

  /// y = x * transpose(weight), all float32, over whole columns of y. Divides the longer of rows and columns over the
  /// threads.
  func multiply(
    _ x: UnsafePointer<Float>, rows: Int, _ width: Int, _ weight: UnsafePointer<Float>,
    columns: Int, _ y: UnsafeMutablePointer<Float>, out: Int, _ accumulate: Bool
  ) throws {
    guard let blas else {
      // The built-in product has no row stride of its own for y: it needs whole rows.
      let scratchBytes = (width * 32 + (Int(MI_KEY_BLOCK) + 64) * 32) * 4 + 4096
      let blocks = (rows + 31) / 32
      try parallel(blocks, scratchBytes: scratchBytes) { block, memory in
        kernels.linear_block(
          x, Int64(block * 32), Int64(min(rows, block * 32 + 32)), Int64(width), weight,
          Int64(columns), Int64(out), y, accumulate, memory)
      }
      return
    }
    if rows >= columns {
      pool.split(rows, minimum: 32) { range in
        blas.multiply(
          m: range.count, n: columns, k: width, a: x + range.lowerBound * width, lda: width,
          b: weight, ldb: width, c: y + range.lowerBound * out, ldc: out, accumulate: accumulate)
      }
    } else {
      pool.split(columns, minimum: 32) { range in
        blas.multiply(
          m: rows, n: range.count, k: width, a: x, lda: width,
          b: weight + range.lowerBound * width, ldb: width, c: y + range.lowerBound, ldc: out,
          accumulate: accumulate)
      }
    }
  }
}
