import TextReports

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The positions and labels of an axis's ticks.
package enum AxisTicks {
  /// Up to `most` round numbers of a linear axis over 0 ... `maximum`.
  static func linear(upTo maximum: Double, most: Int = 6) -> [Double] {
    guard maximum > 0 else { return [0] }
    let step = roundStep(maximum / Double(max(1, most - 1)))
    return (0...Int(maximum / step + 1e-9)).map { Double($0) * step }
  }

  /// The next number of 1, 2 and 5 times powers of ten.
  private static func roundStep(_ step: Double) -> Double {
    let power = pow(10, log10(step).rounded(.down))
    return ([1, 2, 5, 10].first { $0 * power >= step * (1 - 1e-9) } ?? 10) * power
  }

  /// Ticks of a logarithmic axis: powers of ten, with twos and fives between if they are few.
  package static func logarithmic(_ range: ClosedRange<Double>) -> [Double] {
    let decades =
      Int(log10(range.lowerBound).rounded(.down))...Int(log10(range.upperBound).rounded(.up))
    let factors: [Double] = decades.count > 6 ? [1] : [1, 2, 5]
    let slack = 1 + 1e-9
    return decades.flatMap { decade in factors.map { $0 * pow(10, Double(decade)) } }
      .filter { $0 * slack >= range.lowerBound && $0 <= range.upperBound * slack }
  }

  /// A number of tokens: 512, 4K, 32K, 1M; others as they are.
  package static func tokens(_ count: Int) -> String {
    if count >= 1 << 20, count % (1 << 20) == 0 { return "\(count >> 20)M" }
    if count >= 1 << 10, count % (1 << 10) == 0 { return "\(count >> 10)K" }
    return Quantity.grouped(count)
  }

  /// Positions of a token axis: multiples of a power of two, four to eight of them, and 0.
  package static func positions(upTo count: Int) -> [Int] {
    var step = 1
    while count / step > 8 { step *= 2 }
    return Array(stride(from: 0, through: count, by: step))
  }

  /// 0.01 as it is, less as a power of ten.
  static func decimalOrPower(_ value: Double) -> String {
    value >= 0.001 ? decimal(value) : "1e\(Int(log10(value).rounded()))"
  }

  /// 0.01, 0.5, 20, 500.
  static func decimal(_ value: Double) -> String { SVGDocument.number(value, digits: 4) }
}
