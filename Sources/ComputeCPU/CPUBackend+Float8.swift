internal import CKernels
import Compute

/// Matrices of float8 with a scale for each block: rows are widened to float32 as they are multiplied by,
/// a few at a time, into scratch memory that is used again.
extension CPUBackend {
  /// Bytes of widened rows that one thread holds; they stay in a core's own cache.
  private static let rowScratchBytes = 256 << 10

  /// The matrix where it is mapped, with its scales.
  func prepareFloat8(_ stored: StoredTensor, _ scales: StoredScales) throws -> Weight {
    let values = try makeTensor(.float32, [scales.values.count], purpose: "weights")
    try write(scales.values, to: values)
    return Weight(
      storage: HostBuffer(borrowing: stored.bytes, owner: stored.owner), format: stored.format,
      blockScales: BlockScales(values: values, rows: scales.rows, columns: scales.columns),
      shape: stored.shape)
  }

  /// As ``linear(_:weight:bias:into:accumulate:)``, for a weight of float8.
  ///
  /// - Parameter keepsRows: Whether each row is computed bit for bit as it is alone.
  func linear(
    _ x: Tensor, float8 weight: Weight, _ scales: BlockScales, bias: UnsafePointer<Float>?,
    into y: Tensor, accumulate: Bool, keepsRows: Bool
  ) throws {
    let matrix = try Float8Matrix(weight, scales)
    let source = UnsafePointer(try x.floats("linear"))
    let target = try y.floats("linear")
    let (out, width) = (weight.rows, weight.rowCount)
    if keepsRows || x.rows <= Self.fewRows {
      let atOnce = max(1, Self.rowScratchBytes / (width * 4))
      let pieces = (out + atOnce - 1) / atOnce
      return try parallel(pieces, scratchBytes: atOnce * width * 4) { piece, memory in
        let rows = piece * atOnce..<min(out, (piece + 1) * atOnce)
        let wide = memory.assumingMemoryBound(to: Float.self)
        matrix.widen(rows, into: wide, kernels)
        kernels.linear_rows(
          source, Int64(x.rows), Int64(width), wide, MI_FLOAT32, bias.map { $0 + rows.lowerBound },
          0, Int64(rows.count), Int64(out), target + rows.lowerBound, accumulate)
      }
    }
    let atOnce = min(out, max(1, Self.panelElements / width))
    guard let panel = HostBuffer(byteCount: atOnce * width * 4) else {
      throw ComputeError.outOfMemory(
        wantedBytes: atOnce * width * 4, purpose: "a panel of weights")
    }
    let wide = panel.base.assumingMemoryBound(to: Float.self)
    for first in stride(from: 0, to: out, by: atOnce) {
      let count = min(atOnce, out - first)
      pool.split(count, minimum: max(1, (1 << 14) / width)) { range in
        matrix.widen(
          first + range.lowerBound..<first + range.upperBound,
          into: wide + range.lowerBound * width, kernels)
      }
      try multiply(
        source, rows: x.rows, width, wide, columns: count, target + first, out: out, accumulate)
    }
    if let bias {
      pool.split(x.rows, minimum: 16) { rows in
        kernels.add_bias(
          bias, target + rows.lowerBound * out, Int64(rows.count), Int64(out))
      }
    }
  }
}

/// A weight of float8 with its scales, in the host's memory.
private struct Float8Matrix {
  let bytes: UnsafePointer<UInt8>
  let scales: UnsafePointer<Float>
  let blocks: BlockScales
  let width: Int
  /// Blocks beside each other.
  let columns: Int

  init(_ weight: Weight, _ scales: BlockScales) throws {
    guard let buffer = weight.storage as? HostBuffer else {
      throw ComputeError.shapeMismatch(
        operation: "linear", detail: "a weight of another backend was passed")
    }
    bytes = UnsafePointer(
      (buffer.base + weight.byteOffset).assumingMemoryBound(to: UInt8.self))
    self.scales = UnsafePointer(try scales.values.floats("linear"))
    blocks = scales
    width = weight.rowCount
    columns = (width + scales.columns - 1) / scales.columns
  }

  /// The elements of rows as float32, one row after the other.
  func widen(_ rows: Range<Int>, into target: UnsafeMutablePointer<Float>, _ kernels: mi_kernels) {
    for row in rows {
      let factors = scales + (blocks.firstRow + row) / blocks.rows * columns
      let place = target + (row - rows.lowerBound) * width
      for column in 0..<columns {
        let first = column * blocks.columns
        kernels.float8_to_float32(
          bytes + row * width + first, factors[column], place + first,
          Int64(min(blocks.columns, width - first)))
      }
    }
  }
}
