internal import CKernels
import Compute

/// Matrices of bfloat16 where the processor has dot products of pairs: activations become bfloat16 too.
///
/// What a row gives does not depend on the rows beside it, bit for bit: a prompt that is read in parts and the
/// tokens of an answer leave the same keys and values as the whole text read at once.
extension CPUBackend {
  /// Up to this many rows, reading the weights is the cost, and no panel of them is made.
  private static let fewRowsOfPairs = 16
  /// Rows whose activations are narrowed together take at most about this many bytes: they stay in a cache.
  private static let narrowBytes = 16 << 20

  /// y (+)= x * transpose(weight) + bias, x rounded to bfloat16.
  ///
  /// - Parameters:
  ///   - x: [rows, width], width even.
  ///   - weight: [outputs, width].
  ///   - bias: [outputs]; added to the sums, those of y among them.
  ///   - y: [rows, outputs].
  func linear(
    _ x: UnsafePointer<Float>, rows: Int, bfloat16 weight: UnsafePointer<UInt16>,
    shape: (outputs: Int, width: Int), bias: UnsafePointer<Float>?,
    into y: UnsafeMutablePointer<Float>, accumulate: Bool, by products: mi_bfloat16_products
  ) throws {
    let (outputs, width) = shape
    let rowsAtOnce = max(64, Self.narrowBytes / (2 * width))
    try activations.withMemory(bytes: 2 * width * min(rows, rowsAtOnce)) { memory in
      let narrow = memory.assumingMemoryBound(to: UInt16.self)
      for first in stride(from: 0, to: rows, by: rowsAtOnce) {
        let count = min(rowsAtOnce, rows - first)
        pool.split(count * width, minimum: 1 << 14) { range in
          kernels.to_bfloat16(
            x + first * width + range.lowerBound, narrow + range.lowerBound, Int64(range.count))
        }
        let target = y + first * outputs
        if count <= Self.fewRowsOfPairs {
          multiply(narrow, fewRows: count, weight, shape, bias, target, accumulate, by: products)
        } else {
          try multiply(narrow, rows: count, weight, shape, bias, target, accumulate, by: products)
        }
      }
    }
  }

  /// Each thread has outputs that lie side by side: their weights are one stream of memory.
  private func multiply(
    _ x: UnsafePointer<UInt16>, fewRows rows: Int, _ weight: UnsafePointer<UInt16>,
    _ shape: (outputs: Int, width: Int), _ bias: UnsafePointer<Float>?,
    _ y: UnsafeMutablePointer<Float>, _ accumulate: Bool, by products: mi_bfloat16_products
  ) {
    let (outputs, width) = shape
    let panel = Int(products.panel_outputs)
    pool.split((outputs + panel - 1) / panel, minimum: max(1, (1 << 15) / (panel * width))) {
      pieces in
      let columns = pieces.lowerBound * panel..<min(outputs, pieces.upperBound * panel)
      products.few_rows(
        x, Int64(rows), Int64(width), weight, Int64(columns.lowerBound),
        Int64(columns.upperBound), y, Int64(outputs), accumulate)
      guard let bias else { return }
      for row in 0..<rows {
        kernels.add_bias(
          bias + columns.lowerBound, y + row * outputs + columns.lowerBound, 1,
          Int64(columns.count))
      }
    }
  }

  private func multiply(
    _ x: UnsafePointer<UInt16>, rows: Int, _ weight: UnsafePointer<UInt16>,
    _ shape: (outputs: Int, width: Int), _ bias: UnsafePointer<Float>?,
    _ y: UnsafeMutablePointer<Float>, _ accumulate: Bool, by products: mi_bfloat16_products
  ) throws {
    let (outputs, width) = shape
    let panel = Int(products.panel_outputs)
    try parallel((outputs + panel - 1) / panel, scratchBytes: products.panel_bytes()) {
      piece, scratch in
      products.multiply(
        x, Int64(rows), Int64(width), weight, Int64(piece * panel),
        Int64(min(outputs, (piece + 1) * panel)), y, Int64(outputs), accumulate, scratch)
    }
    guard let bias else { return }
    pool.split(rows, minimum: 16) { rows in
      kernels.add_bias(
        bias, y + rows.lowerBound * outputs, Int64(rows.count), Int64(outputs))
    }
  }
}
