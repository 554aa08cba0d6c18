internal import CKernels
import Compute
internal import StoredNumbers

/// Matrices stored in blocks: rows are widened to float32 as they are multiplied by, a few at a time, into
/// scratch memory that is used again.
extension CPUBackend {
  /// Bytes of widened rows that one thread holds; they stay in a core's own cache.
  private static let rowScratchBytes = 256 << 10

  /// As ``linear(_:weight:bias:into:accumulate:)``, for a weight in blocks.
  func linear(
    _ x: Tensor, blocks weight: Weight, _ format: BlockFormat, bias: UnsafePointer<Float>?,
    into y: Tensor, accumulate: Bool
  ) throws {
    let matrix = try BlockMatrix(weight, format)
    let source = UnsafePointer(try x.floats("linear"))
    let target = try y.floats("linear")
    guard x.rows > Self.fewRows else {
      return try fewRowsLinear(x.rows, source, matrix, bias, target, accumulate)
    }
    try manyRowsLinear(x.rows, source, matrix, target, accumulate)
    if let bias {
      pool.split(x.rows, minimum: 16) { rows in
        kernels.add_bias(
          bias, target + rows.lowerBound * matrix.rows, Int64(rows.count), Int64(matrix.rows))
      }
    }
  }

  /// x[r] = table[ids[r]], of a table in blocks, for ids that are rows of it.
  func embed(
    _ ids: [Int32], blocks table: Weight, _ format: BlockFormat,
    into x: UnsafeMutablePointer<Float>
  ) throws {
    let matrix = try BlockMatrix(table, format)
    pool.split(ids.count, minimum: 16) { rows in
      for row in rows {
        let id = Int(ids[row])
        widen(matrix, rows: id..<id + 1, into: x + row * matrix.width)
      }
    }
  }

  /// The elements of rows as float32, one row after the other.
  private func widen(
    _ matrix: BlockMatrix, rows: Range<Int>, into target: UnsafeMutablePointer<Float>
  ) {
    kernels.dequantise(
      matrix.format, matrix.bytes + rows.lowerBound * matrix.rowBytes, target,
      Int64(rows.count * matrix.rowBlocks))
  }

  private func fewRowsLinear(
    _ rows: Int, _ source: UnsafePointer<Float>, _ matrix: BlockMatrix,
    _ bias: UnsafePointer<Float>?, _ target: UnsafeMutablePointer<Float>, _ accumulate: Bool
  ) throws {
    let width = matrix.width
    let atOnce = max(1, Self.rowScratchBytes / (width * 4))
    let pieces = (matrix.rows + atOnce - 1) / atOnce
    try parallel(pieces, scratchBytes: atOnce * width * 4) { piece, memory in
      let first = piece * atOnce
      let count = min(atOnce, matrix.rows - first)
      let wide = memory.assumingMemoryBound(to: Float.self)
      widen(matrix, rows: first..<first + count, into: wide)
      kernels.linear_rows(
        source, Int64(rows), Int64(width), wide, MI_FLOAT32, bias.map { $0 + first }, 0,
        Int64(count), Int64(matrix.rows), target + first, accumulate)
    }
  }

  private func manyRowsLinear(
    _ rows: Int, _ source: UnsafePointer<Float>, _ matrix: BlockMatrix,
    _ target: UnsafeMutablePointer<Float>, _ accumulate: Bool
  ) throws {
    let (out, width) = (matrix.rows, matrix.width)
    let atOnce = min(out, max(1, Self.panelElements / width))
    guard let panel = HostBuffer(byteCount: atOnce * width * 4) else {
      throw ComputeError.outOfMemory(
        wantedBytes: atOnce * width * 4, purpose: "a panel of weights")
    }
    let wide = panel.base.assumingMemoryBound(to: Float.self)
    for first in stride(from: 0, to: out, by: atOnce) {
      let count = min(atOnce, out - first)
      pool.split(count, minimum: max(1, (1 << 14) / width)) { range in
        widen(
          matrix, rows: first + range.lowerBound..<first + range.upperBound,
          into: wide + range.lowerBound * width)
      }
      try multiply(
        source, rows: rows, width, wide, columns: count, target + first, out: out, accumulate)
    }
  }

  /// A small weight in blocks (a norm, a bias) as float32.
  func widened(_ stored: StoredTensor, _ format: BlockFormat) throws -> Tensor {
    let numbers = try makeTensor(.float32, stored.shape, purpose: "weights")
    let matrix = try BlockMatrix(
      Weight(
        storage: HostBuffer(borrowing: stored.bytes, owner: stored.owner), format: stored.format,
        shape: [1, numbers.count]), format)
    widen(matrix, rows: 0..<1, into: try numbers.floats("prepare"))
    return numbers
  }
}

/// A weight in blocks, in the host's memory.
private struct BlockMatrix {
  let bytes: UnsafeRawPointer
  let format: mi_block_format
  let rows: Int
  let width: Int
  let rowBytes: Int
  /// Blocks of a row.
  let rowBlocks: Int

  init(_ weight: Weight, _ format: BlockFormat) throws {
    guard let buffer = weight.storage as? HostBuffer,
      let rowBytes = format.rowByteCount(weight.rowCount),
      weight.byteOffset + weight.rows * rowBytes <= buffer.byteCount
    else {
      throw ComputeError.shapeMismatch(
        operation: "CPU backend",
        detail: "a weight \(weight.shape) in \(format.rawValue) that this backend did not prepare")
    }
    bytes = UnsafeRawPointer(buffer.base) + weight.byteOffset
    self.format = format.kernelFormat
    rows = weight.rows
    width = weight.rowCount
    self.rowBytes = rowBytes
    rowBlocks = rowBytes / format.bytesPerBlock
  }
}

extension BlockFormat {
  fileprivate var kernelFormat: mi_block_format {
    switch self {
    case .q40: MI_Q4_0
    case .q41: MI_Q4_1
    case .q50: MI_Q5_0
    case .q51: MI_Q5_1
    case .q80: MI_Q8_0
    case .q2K: MI_Q2_K
    case .q3K: MI_Q3_K
    case .q4K: MI_Q4_K
    case .q5K: MI_Q5_K
    case .q6K: MI_Q6_K
    case .iq4NL: MI_IQ4_NL
    case .iq4XS: MI_IQ4_XS
    case .mxfp4: MI_MXFP4
    }
  }
}
