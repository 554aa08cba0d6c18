/// Pseudo-random numbers that are the same on every platform and in every version of Swift.
///
/// The numbers are those of `SplitMix64`.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
  private var generator: SplitMix64

  public init(seed: UInt64) { generator = SplitMix64(seed: seed) }

  public mutating func next() -> UInt64 { generator.next() }

  /// A number in 0 ..< bound. The standard library's `random(in:using:)` may change its way of
  /// drawing between versions, which would change every document; this does not.
  ///
  /// - Precondition: bound > 0.
  public mutating func next(below bound: Int) -> Int {
    Int(next().multipliedFullWidth(by: UInt64(bound)).high)
  }

  /// An element of `elements`, or nil if there is none.
  public mutating func pick<Element>(_ elements: [Element]) -> Element? {
    elements.isEmpty ? nil : elements[next(below: elements.count)]
  }
}
