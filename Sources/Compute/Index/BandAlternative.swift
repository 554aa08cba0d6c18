#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Columns and offsets that a head takes in place of chosen blocks where the shares of blocks cannot be trusted.
///
/// Two distributions over blocks of 128 keys are compared: the mass that the chunk's last rows put on the columns of
/// each block, and the shares of the blocks in the chunk's last query block. The alternative is taken where the
/// square root of their Jensen-Shannon divergence is at least ``distance``. Source: FlexPrefill (arXiv 2502.20766),
/// algorithms 2 and 3.
public struct BandAlternative: Sendable, Hashable {
  /// The least distance at which columns and offsets are taken, 0 ... sqrt(log 2).
  public var distance: Float
  /// The columns and the offsets, by the sums of the chunk's last rows.
  public var columns: IndexRequest.Rule
  public var offsets: IndexRequest.Rule

  public init(distance: Float, columns: IndexRequest.Rule, offsets: IndexRequest.Rule) {
    self.distance = distance
    self.columns = columns
    self.offsets = offsets
  }

  /// Whether columns and offsets are taken.
  ///
  /// - Parameters:
  ///   - columnSums: [keys]: the last rows' mass on every column.
  ///   - shares: [key blocks]: of the chunk's last query block.
  public func isTaken(columnSums: [Float], shares: [Float]) -> Bool {
    !(Self.distance(columnSums: columnSums, shares: shares) < Double(distance))
  }

  /// The distance of what last rows attend to and the shares of blocks of 128 keys: the square root of the
  /// Jensen-Shannon divergence in natural logarithms. Neither has to add up to 1. Infinite where one of them has no
  /// mass.
  public static func distance(columnSums: [Float], shares: [Float]) -> Double {
    var attended = [Double](repeating: 0, count: shares.count)
    for (key, mass) in columnSums.enumerated() {
      attended[key / ShareRule.blockSize] += Double(mass)
    }
    let (rows, means) = (attended.reduce(0, +), shares.reduce(0) { $0 + Double($1) })
    guard rows > 0, means > 0 else { return .infinity }
    var divergence = 0.0
    for (mass, share) in zip(attended, shares) {
      let (x, y) = (mass / rows, Double(share) / means)
      let middle = (x + y) / 2
      if x > 0 { divergence += x * log(x / middle) / 2 }
      if y > 0 { divergence += y * log(y / middle) / 2 }
    }
    return max(0, divergence).squareRoot()
  }
}
