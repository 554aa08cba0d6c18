import StoredNumbers

/// Rows in eight bits (e4m3) with a float32 factor each: value = scale of the row * stored.
///
/// The reference of quantized linear layers. The scale is the row's largest magnitude / 448, so that
/// nothing is cut off, and 1 for a row of zeros; what does not divide is rounded to nearest or even, off by
/// up to 2^-4 of itself, and by more below 2^-15 of the row's largest.
package struct Float8Rows: Sendable, Equatable {
  /// Numbers in a row.
  package let width: Int
  package let scales: [Float]
  /// Row by row.
  package let bits: [UInt8]

  /// - Precondition: `values` are whole rows.
  package init(_ values: [Float], width: Int) {
    precondition(width > 0 && values.count % width == 0)
    self.width = width
    let largestStored = Float(Double.largestFloat8)
    var scales: [Float] = []
    var bits: [UInt8] = []
    for start in stride(from: 0, to: values.count, by: width) {
      let row = values[start..<start + width]
      let largest = row.reduce(Float(0)) { max($0, abs($1)) }
      let factor = largest > 0 ? largestStored / largest : 1
      scales.append(largest > 0 ? largest / largestStored : 1)
      bits += row.map { Double($0 * factor).float8Bits }
    }
    self.scales = scales
    self.bits = bits
  }

  /// What the rows stand for.
  package var values: [Double] {
    bits.enumerated().map { Double(scales[$0 / width]) * Double(float8Bits: $1) }
  }
}
